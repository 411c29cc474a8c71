"""Monotone curves of intensities from four control points, as tables: what SLAug and the dual-normalization share.

A cubic Bezier curve P(t) = (1-t)³ P0 + 3 (1-t)² t P1 + 3 (1-t) t² P2 + t³ P3, from P0 = (0, 0) to P3 = (1, 1), gives
pairs (x, y). Both are sorted, y downward for a falling curve, so that any P1 and P2 in the unit square give a map.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ENTRIES = 1024
"""Of a table; between them the map is linear."""


def tables(
    first: Float[Tensor, "curve 2"], second: Float[Tensor, "curve 2"], falling: Bool[Tensor, "curve"]
) -> Float[Tensor, "curve entry"]:
    """The map of each curve at ``ENTRIES`` even steps of [0, 1].

    Args:
        first, second: inner control points (x, y) in [0, 1].
        falling: whether the curve goes from 1 down to 0.
    """
    t = torch.linspace(0, 1, ENTRIES, dtype=torch.float64, device=first.device)
    a, b, c = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
    points = first.double()[..., None] * a + second.double()[..., None] * b + c
    x, y = points.sort(dim=-1).values.unbind(1)
    y = torch.where(falling[:, None], y.flip(-1), y)
    wanted = t.expand(len(x), -1).contiguous()
    right = torch.searchsorted(x.contiguous(), wanted).clamp(1, ENTRIES - 1)
    low, high = x.gather(1, right - 1), x.gather(1, right)
    share = ((wanted - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return (y.gather(1, right - 1) + share * (y.gather(1, right) - y.gather(1, right - 1))).float()


def look_up(
    values: Float[Tensor, "*any"], tables: Float[Tensor, "curve entry"], rows: Int[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    """Each value in [0, 1] through the table of its row, linear between entries; values beyond count as the ends."""
    place = values.clamp(0, 1) * (ENTRIES - 1)
    below = place.floor().clamp_max(ENTRIES - 2)
    share, index = place - below, rows * ENTRIES + below.long()
    flat = tables.flatten()
    low = flat[index]
    return low + share * (flat[index + 1] - low)
