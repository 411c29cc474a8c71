"""Dual-normalization: one view that looks like the source and one that does not, each with its own batch norms.

Zhou, Qi, Yang, Ni, Shi, "Generalizable Cross-modality Medical Image Segmentation via Style Augmentation and Dual
Normalization" (CVPR 2022, arXiv 2112.11177; zzzqzhou/Dual-Normalization). Setting: generalization, one source domain
or more. An image's own range counts as [-1, 1]; for v in {0.5, 0.75} the curve with control points (-1, -1), (-v, v),
(v, -v), (1, 1) is S_v. Each image draws one of::

    similar       x,  S_0.5(x),  S_0.75(x)                        first set of batch norms
    dissimilar    -x, -S_0.5(x), -S_0.75(x), black stays black    second set
    loss = L(similar) + L(dissimilar)                             L = cross-entropy + Dice, background included

At test time the set whose statistics an image's own are nearer to is used (:mod:`unshift.networks.dual_norm`, which
the recipe's network becomes). ``norms: one`` leaves the network as it is, ``styles: false`` the images; both: ``erm``
bit for bit, or, with ``augmentations``, ``augmented``.

Differences from the authors' code:

* both views of one image in one pass and one step; theirs are two files of images, drawn apart, and two steps.
* cross-entropy is added to their Dice loss, as in all rows of this package's tables.
* choice at test time image by image: see the network.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config, discover
from unshift.augmentations import bezier
from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.layers import dual_batch_norm
from unshift.objectives.views import AugmentingObjective
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """What comes before, the curves, and whether there are two sets of norms."""

    augmentations: tuple[MemberRef, ...] = Field((), description="before the views, of image and label map")
    styles: bool = Field(True, description="similar and dissimilar views; without, images as they are")
    strengths: tuple[float, ...] = Field((0.5, 0.75), description="v of the curves beside the straight one")
    norms: Literal["two", "one"] = Field("two", description="one: the network's own, which meet both kinds of views")
    include_background: bool = True


class DualNormalization(AugmentingObjective):
    """Supervised loss of two recolored views of every image."""

    Config = Config
    ingredients = (bezier, dual_batch_norm)

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside those of the views and norms, the network's."""
        return (*super().files(config), Path(inspect.getfile(discover.load("networks", "dual_norm"))))

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        doubled = discover.load("networks", "dual_norm")
        if config.norms == "two" and not isinstance(network, doubled):
            network = doubled(doubled.Config(of=None), network.task, network.in_channels, network=network)
        super().__init__(config, task, network, sources)

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Cross-entropy and Dice of each view, their names after ``similar_`` and ``dissimilar_``.

        Without styles and with one set of norms there is one view, and the terms are those of ``erm``.
        """
        similar, dissimilar, label_maps = self.views(batch)
        if not self.config.styles and self.config.norms == "one":
            return self.supervised(self.network(similar), label_maps)
        logits = self.network(torch.cat([similar, dissimilar]))
        first, second = (self.supervised(part, label_maps) for part in logits.chunk(2))
        return {f"similar_{n}": v for n, v in first.items()} | {f"dissimilar_{n}": v for n, v in second.items()}

    def views(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Similar and dissimilar images and their label maps: a pure function of the batch."""
        generator = batch.generator()
        images, label_maps = self.augmented(batch, generator)
        if not self.config.styles:
            return images, images, label_maps
        count = 1 + len(self.config.strengths)
        which = torch.randint(count, (2, len(images)), generator=generator).to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            return (*recolored(images, which, self.config.strengths), label_maps)


def recolored(
    images: Float[Tensor, "batch channel *space"], which: Tensor, strengths: Sequence[float]
) -> tuple[Float[Tensor, "batch channel *space"], Float[Tensor, "batch channel *space"]]:
    """Rising and falling curves of each image's own range, which stays.

    Args:
        images: of any range and units.
        which: int64 [2, batch], for each view 0 (straight) or the place in ``strengths``, from 1. A rising straight
            curve gives the image bit for bit.
        strengths: v of each curve.
    """
    axes = tuple(range(1, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    v = torch.tensor(strengths, device=images.device)
    first = torch.stack([(1 - v) / 2, (1 + v) / 2], dim=1)
    first = torch.cat([first.new_zeros(1, 2), first])
    rising, falling = (
        bezier.tables(first, 1 - first, torch.full((len(first),), is_falling, device=images.device))
        for is_falling in (False, True)
    )
    rows = which.view(2, -1, *(1,) * (images.ndim - 1)).expand(2, *images.shape)
    unit = (images - low) / span
    similar = bezier.look_up(unit, rising, rows[0]) * span + low
    dissimilar = bezier.look_up(unit, falling, rows[1]) * span + low
    black = (images == low).all(1, keepdim=True)
    return torch.where(rows[0] == 0, images, similar), torch.where(black, images, dissimilar)


MEMBER = DualNormalization
