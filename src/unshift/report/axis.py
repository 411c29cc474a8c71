"""Axes of the report's plots: round ticks, and positions as percentages so that a plot fits any width."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An interval of numbers and the ticks in it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Position of ``value`` from the left, in percent, kept inside the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def axis_over(values: Iterable[float], *, include: float | None = None, count: int = 5) -> Axis:
    """An axis with round ends that holds all finite ``values`` (and ``include``), with about ``count`` ticks."""
    finite = [v for v in values if math.isfinite(v)]
    finite += [include] if include is not None else []
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low < 1e-9:  # nothing to tell apart at any number of decimals that is shown
        low, high = low - 1, high + 1
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, tuple(round(k * step, 10) for k in range(first, last + 1)))


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
