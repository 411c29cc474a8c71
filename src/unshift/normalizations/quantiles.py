"""Values at given shares of the sorted ones: what normalizations know of a distribution."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def quantiles(values: Float[Tensor, " n"], shares: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The value in whose n-th part of [0, 1] each share lies, once values are sorted; no value is made up.

    Args:
        values: one or more.
        shares: float64 in [0, 1].
    """
    positions = (shares.to(values.device) * len(values)).long().clamp_max(len(values) - 1)
    return values.sort().values[positions]


def middles(count: int) -> Float[Tensor, " count"]:
    """The middles of ``count`` equal shares, float64."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count
