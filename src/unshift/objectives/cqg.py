"""Colour-quality generalization: one deformed view and its recoloured twin, both supervised, tied to one another.

Shah, Fukuda, Cap, "Color-Quality Invariance for Robust Medical Image Segmentation" (DCIN-CQG, arXiv 2502.07200).
Setting: generalization, one or more source domains. With G drawn once for image and label map, P for intensities::

    x1 = G(x)    x2 = P(x1)    t = G(label map)    y1 = f(x1)    y2 = f(x2)
    L  = 0.3 DC(y1, t) + 0.7 DC(y2, t) + 1.0 MSE(y1, y2)          DC = cross-entropy + Dice, background included

When P changes nothing, y1 = y2 in evaluation mode and L = (0.3 + 0.7) DC. The weights are those of the authors'
training script; the paper's text does not give them.

Differences from the authors' code:

* agreement compares probabilities, as the paper says ("predicted masks"); ``agreement: logits`` is what the code does.
  Logits have no bound: their squares grow with confidence, probabilities' do not.
* one pass over both views; ``passes: two`` is what the code does. Batch normalization then sees one view at a time:
  each view is standardized by its own statistics, so that a part of the very shift that the loss is to teach is
  removed in training and comes back in evaluation, where both meet the same running statistics.
* the views are drawn in batch on the device, by the lists of ``geometric`` and ``photometric``, which say where they
  differ from the authors'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.contracts import Network, Objective
from unshift.losses.overlap import segmentation_terms
from unshift.objectives.views import augmented, build_augmentations, build_still, source_files
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """The two lists of augmentations with their settings, the three weights, and how views are compared."""

    geometric: tuple[MemberRef, ...] = Field(
        (MemberRef(name="geometric"),), description="one draw, of images and label maps, shared by both views"
    )
    photometric: tuple[MemberRef, ...] = Field(
        (MemberRef(name="photometric"),), min_length=1, description="of the second view; may not move label maps"
    )
    geometric_weight: float = Field(0.3, ge=0, description="of the first view's supervised loss")
    photometric_weight: float = Field(0.7, ge=0, description="of the second view's supervised loss")
    agreement_weight: float = Field(1.0, ge=0, description="of the mean squared difference between the predictions")
    agreement: Literal["probabilities", "logits"] = Field("probabilities", description="what is compared")
    passes: Literal["one", "two"] = Field("one", description="calls of the network; two: one for each view")
    include_background: bool = True

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.geometric_weight + self.photometric_weight == 0:
            raise ValueError(
                "geometric_weight and photometric_weight are both 0; without supervision any constant prediction is "
                "perfect. Raise one of them"
            )
        return self


class ColorQuality(Objective):
    """Supervised loss of two views of every image and the squared difference of their predictions."""

    Config = Config

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of the views: a training stored under other code is not this one."""
        return (*super().files(config), *source_files((*config.geometric, *config.photometric)))

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.geometric = build_augmentations(config.geometric, where="objective cqg: geometric")
        self.photometric = build_still(config.photometric, where="objective cqg: photometric")

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Weighted terms, in float32: cross-entropy and Dice of each view, and ``agreement``."""
        c = self.config
        first, second, label_maps = self.views(batch)
        logits = self._predicted(first, second)
        terms: dict[str, Tensor] = {}
        for name, found, weight in zip(
            ("geometric", "photometric"), logits, (c.geometric_weight, c.photometric_weight), strict=True
        ):
            supervised = segmentation_terms(found, label_maps, include_background=c.include_background)
            terms |= {f"{name}_{term}": weight * value for term, value in supervised.items()}
        return terms | {"agreement": c.agreement_weight * disagreement(*logits, of=c.agreement)}

    def views(
        self, batch: Batch
    ) -> tuple[
        Float[Tensor, "batch channel *space"], Float[Tensor, "batch channel *space"], Int[Tensor, "batch *space"]
    ]:
        """Deformed images, the same deformed and recoloured, and their label maps: a pure function of the batch.

        The second view is ``augmented``'s view of the same batch.
        """
        settings = {"generator": batch.generator(), "channels": self.task.channels, "domains": batch.domains}
        first, label_maps = augmented(batch.images, batch.label_maps, self.geometric, **settings)  # type: ignore[arg-type]
        second, _ = augmented(first, label_maps, self.photometric, **settings)  # type: ignore[arg-type]
        return first, second, label_maps

    def _predicted(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.passes == "two":
            return self.network(first), self.network(second)
        logits = self.network(torch.cat([first, second]))
        return logits[: len(first)], logits[len(first) :]


def disagreement(
    first: Float[Tensor, "batch class *space"],
    second: Float[Tensor, "batch class *space"],
    *,
    of: Literal["probabilities", "logits"],
) -> Float[Tensor, ""]:
    """Mean squared difference over images, classes and space; float32 also under autocast.

    Both sides receive gradients, as in the authors' code. Of probabilities it is at most 2 / class.
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        if of == "probabilities":
            first, second = first.softmax(1), second.softmax(1)
        return F.mse_loss(first, second)


MEMBER = ColorQuality
