"""Lines of the report: histograms of source and target images, and training curves, as SVG paths in a 100 x 100 box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unshift.errors import DataError
from unshift.report.content import Curve, Distribution

_CHANNEL_COLORS = {"red": "red", "green": "green", "blue": "blue"}


@dataclass(frozen=True)
class HistogramPanel:
    """One domain's channel (line) over the source's (area).

    Args:
        source, target: SVG paths; the source's is closed.
        overlap: shared area of the two histograms in percent; 100 is no shift of intensities at all.
    """

    domain: str
    channel: str
    color: str
    source: str
    target: str
    low: str
    high: str
    overlap: int
    alt: str


@dataclass(frozen=True)
class Line:
    """One training's curve; ``color`` counts the trainings of its panel."""

    name: str
    color: int
    path: str
    ends: str
    """The first and the last value."""


@dataclass(frozen=True)
class CurvePanel:
    """One quantity over steps, one line a training."""

    quantity: str
    lines: tuple[Line, ...]
    low: str
    high: str
    last_step: int
    alt: str


def histogram_panels(distributions: Sequence[Distribution]) -> list[HistogramPanel]:
    """A panel for each channel of each target, over the mean of the sources' histograms.

    Raises:
        DataError: a target's channel has no source, or other bin edges than the source.
    """
    panels = []
    for target in distributions:
        if not target.is_target:
            continue
        alike = [d for d in distributions if d.channel == target.channel]
        sources = [d for d in alike if not d.is_target]
        if all(d.is_target for d in distributions):  # each domain is left out in turn: the others are its sources
            sources = [d for d in alike if d.domain != target.domain]
        if not sources:
            raise DataError(
                f"Report: channel {target.channel!r} of target {target.domain!r} has no source histogram; "
                "each target channel needs one. Give the sources' distributions too."
            )
        for source in sources:
            if not np.array_equal(source.edges, target.edges):
                raise DataError(
                    f"Report: histograms of {source.domain!r} and {target.domain!r} have other bin edges; "
                    "one channel needs one set of edges. Bin all domains alike."
                )
        panels.append(_histogram_panel(target, np.mean([np.asarray(s.density) for s in sources], axis=0)))
    return panels


def curve_panels(
    curves: Sequence[Curve], *, names: Sequence[str] = (), bounds: tuple[float, float] | None = None
) -> list[CurvePanel]:
    """A panel for each quantity, with all trainings that recorded it; ``names`` come first in the order of colours.

    ``bounds``: of every panel's height; default: the panel's own least and largest value.
    """
    quantities = dict.fromkeys(curve.quantity for curve in curves)
    order = list(dict.fromkeys([*names, *(curve.name for curve in curves)]))
    return [_curve_panel(q, [c for c in curves if c.quantity == q], order, bounds) for q in quantities]


def _histogram_panel(target: Distribution, source: np.ndarray) -> HistogramPanel:
    edges, density = np.asarray(target.edges, float), np.asarray(target.density, float)
    widths, centers = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    # A peak of saturated background must not flatten the rest: the height is cut above the second-largest bins.
    top = max(np.quantile(np.concatenate([source, density]), 0.985), 1e-12) * 1.08
    x = 100 * (centers - edges[0]) / (edges[-1] - edges[0])
    overlap = round(100 * float(np.minimum(source * widths, density * widths).sum()))
    moved = float((density * widths * centers).sum()), float((source * widths * centers).sum())
    alt = (
        f"{target.channel} of {target.domain}: mean {moved[0]:.3g} against {moved[1]:.3g} in the source; "
        f"the histograms share {overlap} percent of their area."
    )
    return HistogramPanel(
        domain=target.domain,
        channel=target.channel,
        color=_CHANNEL_COLORS.get(target.channel.lower(), "intensity"),
        source=f"M0 100 {_path(x, source, 0, top, first='L')} L100 100 Z",
        target=_path(x, density, 0, top),
        low=f"{edges[0]:g}",
        high=f"{edges[-1]:g}",
        overlap=overlap,
        alt=alt,
    )


def _curve_panel(
    quantity: str, curves: list[Curve], order: list[str], bounds: tuple[float, float] | None
) -> CurvePanel:
    values = [float(v) for curve in curves for v in curve.values if math.isfinite(v)]
    low, high = bounds or ((min(values), max(values)) if values else (0.0, 1.0))
    last = max((step for curve in curves for step in curve.steps), default=0)
    lines, ends = [], []
    for curve in curves:
        kept = [(float(s), float(v)) for s, v in zip(curve.steps, curve.values, strict=True) if math.isfinite(v)]
        if not kept:
            continue
        if len(kept) == 1:  # a dash up to it; a path of one point draws nothing
            kept = [(kept[0][0] - 0.04 * last, kept[0][1]), *kept]
        x = np.array([100 * step / max(last, 1) for step, _ in kept])
        y = np.array([value for _, value in kept])
        path, color = _path(x, y, low, high if high > low else low + 1), order.index(curve.name) % 8
        lines.append(Line(curve.name, color, path, f"{y[0]:.2f} → {y[-1]:.2f}"))
        ends.append(f"{curve.name} ends at {y[-1]:.3g}")
    alt = f"{quantity} over {last} steps: {'; '.join(ends) or 'no finite value'}."
    return CurvePanel(quantity, tuple(lines), f"{low:.3g}", f"{high:.3g}", last, alt)


def _path(x: np.ndarray, y: np.ndarray, low: float, high: float, *, first: str = "M") -> str:
    heights = 100 - 100 * np.clip((y - low) / (high - low), 0, 1)
    points = [f"{a:.2f} {b:.2f}" for a, b in zip(x, heights, strict=True)]
    return f"{first}{' L'.join(points)}"
