"""FDA: source images with the low frequencies' amplitudes of target images, and sure predictions on the target.

Yang, Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation" (CVPR 2020, arXiv 2004.05498), with target
images as in the paper (the augmentation ``fda`` swaps between sources). Setting: adaptation, one source domain or more.
Inside the centered square of half-width ⌊β · min(height, width)⌋ a source image takes the amplitudes of a target image;
phases and all other frequencies stay; the result is clipped to the range of intensities. With P the softmax over C
classes and E the pixel's entropy over log C, in [0, 1]::

    loss = cross-entropy + Dice on the swapped source + 0.005 · mean over the target's pixels of (E² + 0.001²)^η, η = 2

``probability: 0`` with ``entropy_weight: 0`` is ``erm`` bit for bit. ``intensities``: ``unit``, images must be in
[0, 1]; ``image``, each image's own range counts as [0, 1] and the result is in the source image's range.

Deviations: each image draws its β of three, where the paper trains three networks, averages them, and trains again on
their labels; the window is symmetric; results are clipped; Dice beside cross-entropy. Batch norms: ``statistics``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from unshift import config
from unshift.augmentations import spectrum
from unshift.augmentations.drawing import coin
from unshift.augmentations.intensities import counted_as_unit
from unshift.contracts import Objective, Setting
from unshift.geometry import as_channels, as_slices
from unshift.losses.overlap import segmentation_terms
from unshift.objectives import two_domains
from unshift.objectives.two_domains import Statistics, of_both, require_target
from unshift.sample import Batch, UnlabeledBatch

_FLOOR = 0.001


class Config(config.Config):
    """The swap, and the weight of the entropy."""

    probability: float = Field(1.0, ge=0, le=1, description="of the swap; other images stay as they are")
    windows: tuple[float, ...] = Field(
        (0.01, 0.05, 0.09), min_length=1, description="half-widths as shares of the shorter side; 0: the mean alone"
    )
    intensities: Literal["unit", "image"] = "unit"
    entropy_weight: float = Field(0.005, ge=0, description="of the target's entropy; 0: left out")
    exponent: float = Field(2.0, gt=0, description="η: above 0.5, pixels of large entropy count more")
    statistics: Statistics = Field("joint", description="of batch norms, where target images are shown")
    include_background: bool = True

    @field_validator("windows")
    @classmethod
    def _shares(cls, windows: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= window <= 0.5 for window in windows):
            raise ValueError(f"windows are {list(windows)}; shares from 0 to 0.5 are required")
        return windows


class FdaAdapt(Objective):
    """Supervised loss of swapped source images, and the robust entropy of target images."""

    Config = Config
    setting = Setting("adaptation")

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, those that decide the losses."""
        return (*super().files(config), *(Path(str(module.__file__)) for module in (spectrum, two_domains)))

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """``cross_entropy`` and ``dice`` of the swapped source; ``entropy`` of the target, weighted.

        Raises:
            DataError: there is no target image, or of another shape; ``intensities`` is ``unit`` and images are not in
                [0, 1].
        """
        c = self.config
        target = require_target(unlabeled, batch.images, who="Objective fda_adapt")
        images = self.swapped(batch, target)
        if not c.entropy_weight:
            logits = self.network(images)
            return segmentation_terms(logits, batch.label_maps, include_background=c.include_background)
        logits, target_logits = of_both(self.network, images, target.images, c.statistics)
        terms = segmentation_terms(logits, batch.label_maps, include_background=c.include_background)
        return terms | {"entropy": c.entropy_weight * robust_entropy(target_logits, c.exponent)}

    @torch.no_grad()
    def swapped(self, batch: Batch, target: UnlabeledBatch) -> Float[Tensor, "batch channel *space"]:
        """Source images with a target image's low amplitudes: a pure function of the two batches."""
        c, count, generator = self.config, len(batch.images), batch.generator()
        drawn = coin(generator, count, c.probability)
        partner = torch.randint(len(target.images), (count,), generator=generator)
        window = torch.tensor(c.windows)[torch.randint(len(c.windows), (count,), generator=generator)]
        if not bool(drawn.any()):
            return batch.images
        images, others = (as_slices(b.images, self.task.channels) for b in (batch, target))
        low, span = counted_as_unit(images, c.intensities, who="Objective fda_adapt")
        other_low, other_span = counted_as_unit(others, c.intensities, who="Objective fda_adapt")
        unit, other_unit, result = (images - low) / span, (others - other_low) / other_span, images.clone()
        for width in window.unique().tolist():
            at = (drawn & (window == width)).nonzero()[:, 0].to(images.device)
            if len(at):
                half = spectrum.low_window(images.shape[2:], round(width, 6))
                given = other_unit[partner.to(images.device)[at]]
                found = spectrum.mix_amplitude(unit[at], given, torch.zeros(len(at)), half_width=half)
                result[at] = found.clamp_(0, 1) * span[at] + low[at]
        return as_channels(result) if result.ndim > batch.images.ndim else result


def robust_entropy(logits: Float[Tensor, "batch class *space"], exponent: float) -> Float[Tensor, ""]:
    """Mean of (E² + 0.001²)^exponent, E the entropy over log C; float32 also under autocast."""
    with torch.autocast(logits.device.type, enabled=False):
        logarithms = logits.float().log_softmax(1)
        entropy = -(logarithms.exp() * logarithms).sum(1) / math.log(logits.shape[1])
        return (entropy.square() + _FLOOR**2).pow(exponent).mean()


MEMBER = FdaAdapt
