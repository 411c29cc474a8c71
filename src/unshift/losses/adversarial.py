"""Least squares of judgments, for every discriminator of this package."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def squared(judged: Tensor, wanted: float, share: Tensor | None = None) -> Float[Tensor, ""]:
    """Mean over places of (judged - wanted)², times each place's share; in float32, also under autocast."""
    errors = (judged.float() - wanted).square()
    return (errors if share is None else errors * share).mean()
