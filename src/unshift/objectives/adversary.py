"""What ``advent`` and ``adapt_seg_net`` share: a discriminator that looks at maps made of predictions.

Two phases on the same batches. ``discriminator``: maps of source images are to be told 0 and of target images 1; the
network gets no gradient, and its running statistics stay. ``train``: the supervised loss on the source, and target maps
that should be told 0, as if they were of the source. Without a weight there is one phase, and it is ``erm``'s.

The discriminator is that of both papers' code (DCGAN's without norms): convolutions 4×4 of stride 2 with 64, 128, 256,
512 and 1 channels, LeakyReLU 0.2 between them; for C classes 16 C·64 + 16·(64·128 + 128·256 + 256·512 + 512) weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from unshift import config
from unshift.contracts import Network, Objective, Setting
from unshift.errors import ShapeMismatch
from unshift.layers.running_statistics import keeping
from unshift.losses.adversarial import squared
from unshift.losses.overlap import segmentation_terms
from unshift.objectives import two_domains
from unshift.objectives.two_domains import Statistics, of_both, require_target
from unshift.sample import Batch, Task, UnlabeledBatch

SOURCE, TARGET = 0.0, 1.0
LEAST_SIDE = 32


class AdversaryConfig(config.Config):
    """How strongly, against whom, how fast it learns."""

    weight: float = Field(0.001, ge=0, description="of the adversarial term; 0: this is erm")
    discriminator_rate: float = Field(0.1, gt=0, description="factor on the learning rate, of the discriminator")
    width: int = Field(64, ge=1, description="channels of the discriminator's first convolution")
    adversary: Literal["cross_entropy", "least_squares"] = "cross_entropy"
    statistics: Statistics = Field("joint", description="of batch norms: of both domains, or each domain its own")
    include_background: bool = True


class OutputDiscriminator(nn.Sequential):
    """Maps [batch, class, *space] -> logits [batch, 1, *coarse], 1/32 of each side; in two or three dimensions.

    Args:
        who: whose it is, for messages.
    """

    def __init__(self, dims: int, channels: int, width: int = 64, *, who: str = "Discriminator") -> None:
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [convolution(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*layers, convolution(widths[-1], 1, 4, stride=2, padding=1))
        self.who = who

    def forward(self, maps: Float[Tensor, "batch class *space"]) -> Float[Tensor, "batch 1 *coarse"]:
        """Raises :class:`ShapeMismatch` for a side below 32 pixels."""
        if min(maps.shape[2:]) < LEAST_SIDE:
            raise ShapeMismatch(
                f"{self.who}: maps are {'×'.join(map(str, maps.shape[2:]))}; five strides of 2 need {LEAST_SIDE} "
                f"pixels along each axis. Set every number of input.size to {LEAST_SIDE} or more (volumes of few "
                "slices: two numbers, so that it sees slices), or leave the pipeline out."
            )
        logits: Tensor = super().forward(maps)
        return logits


class OutputAdversary(Objective):
    """The two phases; a member says what the discriminator sees."""

    setting = Setting("adaptation")
    name = ""

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, those that decide the losses."""
        return (*super().files(config), Path(__file__), Path(str(two_domains.__file__)))

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.discriminator: OutputDiscriminator | None = None
        if config.weight:
            self.discriminator = OutputDiscriminator(
                network.task.spatial_dims, task.num_classes, config.width, who=f"Objective {self.name}"
            )
            self.phases = ("discriminator", "train")  # type: ignore[misc]

    @staticmethod
    @abstractmethod
    def maps(logits: Float[Tensor, "batch class *space"]) -> Float[Tensor, "batch class *space"]:
        """What the discriminator sees of logits; float32 also under autocast."""

    def parameter_groups(self) -> dict[str, list[dict[str, Any]]]:
        """The discriminator learns at its own rate."""
        network = {"params": [p for p in self.network.parameters() if p.requires_grad]}
        if self.discriminator is None:
            return {"train": [network]}
        judge = {"params": list(self.discriminator.parameters()), "scale": self.config.discriminator_rate}
        return {"discriminator": [judge], "train": [network]}

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """``discriminator``: that term; ``train``: ``cross_entropy``, ``dice`` and the weighted ``adversary``.

        Raises:
            DataError: there is no target image, or of another shape.
        """
        if self.discriminator is None:
            return self._supervised(self.network(batch.images), batch)
        target = require_target(unlabeled, batch.images, who=f"Objective {self.name}")
        if phase == "discriminator":
            with torch.no_grad(), keeping(self.network, 0.0):
                logits = of_both(self.network, batch.images, target.images, self.config.statistics)
            told = [self.discriminator(self.maps(found)) for found in logits]
            kind = self.config.adversary
            return {"discriminator": 0.5 * (verdict(told[0], SOURCE, kind) + verdict(told[1], TARGET, kind))}
        source_logits, target_logits = of_both(self.network, batch.images, target.images, self.config.statistics)
        fooled = verdict(self.discriminator(self.maps(target_logits)), SOURCE, self.config.adversary)
        return self._supervised(source_logits, batch) | {"adversary": self.config.weight * fooled}

    def _supervised(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        return segmentation_terms(logits, batch.label_maps, include_background=self.config.include_background)


def verdict(
    told: Float[Tensor, "batch 1 *space"], wanted: float, kind: Literal["cross_entropy", "least_squares"]
) -> Float[Tensor, ""]:
    """Mean over places of the loss of a discriminator's output that should be ``wanted``, 0 or 1, in float32.

    ``cross_entropy``: of the sigmoid of ``told``; ``least_squares``: (told - wanted)².
    """
    with torch.autocast(told.device.type, enabled=False):
        if kind == "least_squares":
            return squared(told, wanted)
        told = told.float()
        return F.binary_cross_entropy_with_logits(told, torch.full_like(told, wanted))
