"""Which intensities an augmentation takes: [0, 1], or each image's own range in its place."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.errors import DataError

TOLERANCE = 0.05
"""How far beyond [0, 1] images may reach: interpolation and noise overshoot."""


def require_unit(images: Float[Tensor, "batch channel *space"], *, who: str, remedy: str = "(preprocessing)") -> None:
    """Raise unless images are in [0, 1], or within 0.05 of it.

    Raises:
        DataError: they are not; ``who`` begins the message, ``remedy`` ends it.
    """
    low, high = float(images.min()), float(images.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise DataError(
            f"{who}: intensities span {low:.3g} … {high:.3g}; images in [0, 1] are required. Scale them there {remedy}."
        )


def counted_as_unit(
    images: Float[Tensor, "batch channel *space"], intensities: Literal["unit", "image"], *, who: str
) -> tuple[Tensor, Tensor]:
    """Lower end and width, shaped to broadcast, of what counts as [0, 1]; a constant image's own range has width 1.

    Raises:
        DataError: ``intensities`` is ``unit`` and the images are not in [0, 1], or within 0.05 of it.
    """
    axes = tuple(range(1, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    if intensities == "image":
        return low, torch.where(high > low, high - low, 1.0)
    require_unit(images, who=who, remedy="(preprocessing), or set intensities: image")
    return torch.zeros_like(low), torch.ones_like(low)
