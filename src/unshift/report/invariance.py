"""Style invariance: score against the strength of a shift, one panel a preset, as SVG paths in a 100 x 100 box."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from unshift.evaluate.choice import IN_DOMAIN, NONE
from unshift.report.axis import Axis, axis_over
from unshift.report.number import plain

AVERAGE = "mean of presets"


@dataclass(frozen=True)
class Trace:
    """One candidate's curve; ``kind`` is ``before`` (the network as it is), ``choice`` or ``other``."""

    name: str
    kind: str
    path: str
    band: str
    points: tuple[tuple[float, float], ...]
    title: str


@dataclass(frozen=True)
class Panel:
    """One preset; all panels share the axis."""

    preset: str
    traces: tuple[Trace, ...]
    strengths: tuple[tuple[float, str], ...]
    axis: Axis
    alt: str


def panels(summary: pd.DataFrame, shifts: pd.DataFrame, *, highlighted: str) -> list[Panel]:
    """The mean of all presets, then a panel for each.

    Args:
        summary: columns pipeline, domain, mean, low, high, shares 0 … 1.
        shifts: columns domain, preset, strength.
        highlighted: the candidate that is drawn strongest.
    """
    order = {IN_DOMAIN: ("", 0.0)} | {d: (p, s) for d, p, s in shifts[["domain", "preset", "strength"]].to_numpy()}
    rows = summary[summary["domain"].isin(order)]
    points = rows.assign(preset=[order[d][0] for d in rows["domain"]], strength=[order[d][1] for d in rows["domain"]])
    presets = list(dict.fromkeys(shifts["preset"]))
    averaged = points.groupby(["pipeline", "strength"], sort=False, as_index=False)["mean"].mean()
    axis = axis_over(100 * points["mean"], count=4)
    found = [_panel(AVERAGE, averaged, axis, highlighted)] if len(presets) > 1 else []
    return found + [
        _panel(f"preset {preset}", points[points["preset"].isin(["", preset])], axis, highlighted) for preset in presets
    ]


def _panel(preset: str, points: pd.DataFrame, axis: Axis, highlighted: str) -> Panel:
    names = list(points["pipeline"].unique())
    names.sort(key=lambda name: (name == highlighted, name == NONE))  # drawn last, on top
    traces = tuple(_trace(n, points[points["pipeline"] == n].sort_values("strength"), axis, highlighted) for n in names)
    said = [t.title for t in traces if t.kind != "other"]
    strengths = tuple((100 * float(s), f"{s:g}") for s in sorted(points["strength"].unique()))
    return Panel(preset, traces, strengths, axis, f"{preset}: {'; '.join(said)}.")


def _trace(name: str, rows: pd.DataFrame, axis: Axis, highlighted: str) -> Trace:
    kind = "choice" if name == highlighted else "before" if name == NONE else "other"
    rows = rows[rows["mean"].notna()]
    points = _points(rows, "mean", axis)
    band = ""
    if kind != "other" and "low" in rows and rows["low"].notna().all() and len(rows):
        band = f"{_path((*_points(rows, 'high', axis), *reversed(_points(rows, 'low', axis))))} Z"
    values = ", ".join(f"{plain(m, '1')} at {s:g}" for s, m in zip(rows["strength"], rows["mean"], strict=True))
    return Trace(name, kind, _path(points), band, points, f"{name}: {values}")


def _points(rows: pd.DataFrame, column: str, axis: Axis) -> tuple[tuple[float, float], ...]:
    """Strength and score in the box."""
    pairs = zip(rows["strength"], rows[column], strict=True)
    return tuple((100 * float(strength), 100 - axis.place(100 * value)) for strength, value in pairs)


def _path(points: tuple[tuple[float, float], ...]) -> str:
    return "M" + " L".join(f"{x:.2f} {y:.2f}" for x, y in points) if points else ""
