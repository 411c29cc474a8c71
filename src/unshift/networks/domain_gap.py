"""The gap between domains at a place, from what a discriminator says there; the forms of GLUA's local mask."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

MaskName = Literal["literal", "symmetric", "none"]


def gap_of(judged: Float[Tensor, "batch 1 *space"], mask: MaskName) -> Float[Tensor, "batch 1 *space"]:
    """The gap g of D's output, which is near 1 for the source and near 0 for the target."""
    if mask == "literal":
        return judged.tanh().abs()
    if mask == "symmetric":
        return (2 * judged - 1).abs().clamp(max=1)
    return torch.zeros_like(judged)
