"""Draws that augmentations share: per image, on the CPU, so that every device gets the same numbers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def coin(generator: torch.Generator, count: int, probability: float) -> Bool[Tensor, "count"]:
    """True with ``probability``: never at 0, always at 1."""
    return torch.rand(count, generator=generator, dtype=torch.float64) < probability


def uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Float[Tensor, "..."]:
    """Float64 uniform in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def per_image(values: Float[Tensor, "batch"], images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "..."]:
    """One value for each image, shaped to broadcast over it."""
    return values.view(-1, *(1,) * (images.ndim - 1))
