"""The forest plot and the strip plots as positions; the page's template draws them as SVG that fits any width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from unshift.evaluate.cases import held_out
from unshift.report.axis import Axis, axis_over
from unshift.report.content import Report
from unshift.report.number import LOWER_IS_BETTER, interval, p_value, plain, scaled, signed, title
from unshift.report.verdict import headline_comparisons, headline_unit, is_clear

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Whisker:
    """One row of a forest plot; ``middle``, ``low``, ``high`` in percent; ``effect`` is better, worse or unclear."""

    pipeline: str
    middle: float
    low: float
    high: float
    effect: str
    text: str
    interval: str
    p: str
    n: int
    wins: int


@dataclass(frozen=True)
class Forest:
    """Paired differences to the baseline on one domain."""

    domain: str
    whiskers: tuple[Whisker, ...]


@dataclass(frozen=True)
class Dot:
    """A case: ``x`` in percent, ``y`` from -1 to 1 about the strip's middle."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Strip:
    """All cases of one pipeline on one domain; ``median`` in percent, or None when no case has a defined score."""

    pipeline: str
    color: int
    dots: tuple[Dot, ...]
    median: float | None
    quartiles: tuple[float, float] | None
    median_text: str
    alt: str


@dataclass(frozen=True)
class StripPanel:
    """The strips of one domain, in the order of the pipelines."""

    domain: str
    is_seen: bool
    strips: tuple[Strip, ...]


def forests(report: Report) -> tuple[Axis | None, list[Forest]]:
    """Paired differences of the headline metric on unseen domains, on one common axis that holds 0."""
    frame = headline_comparisons(report)
    frame = frame[~frame["seen"].astype(bool)].dropna(subset=["difference", "low", "high"])
    if frame.empty:
        return None, []
    unit = headline_unit(report)
    ends = [scaled(v, unit) for column in ("low", "high", "difference") for v in frame[column]]
    axis = axis_over(ends, include=0.0)
    order = list(report.pipelines)
    found = []
    for domain in report.unseen():
        part = frame[frame["domain"] == domain]
        rows = sorted((row for _, row in part.iterrows()), key=lambda row: order.index(row["pipeline"]))
        if rows:
            found.append(Forest(domain, tuple(_whisker(row, axis, report) for row in rows)))
    return axis, found


def strips(report: Report) -> tuple[Axis, list[StripPanel]]:
    """Every case's headline score by domain and pipeline; several seeds of one case are averaged."""
    unit = headline_unit(report)
    frame = case_values(report)
    axis = Axis(0, 100, (0, 20, 40, 60, 80, 100)) if unit == "1" else axis_over(frame["value"], include=0.0)
    panels = []
    for domain, seen in report.columns():
        part = frame[(frame["domain"] == domain) & (frame["seen"] == seen)]
        rows = [
            _strip(name, color, part[part["pipeline"] == name], axis=axis, unit=unit, domain=domain)
            for color, name in enumerate(report.pipelines)
            if name in set(part["pipeline"])
        ]
        if rows:
            panels.append(StripPanel(domain, seen, tuple(rows)))
    return axis, panels


def case_values(report: Report) -> pd.DataFrame:
    """One value a case, pipeline and domain: the headline metric in the headline region; NaN when undefined.

    As in the tables, upper-bound folds are left out, and seeds and folds of one case are averaged.
    """
    frame = held_out(report.scores)
    frame = frame[(frame["metric"] == report.metric) & (frame["region"] == report.headline_region)]
    keys = ["pipeline", "domain", "seen", "patient", "case"]
    return frame.groupby(keys, sort=True, as_index=False)["value"].mean()


def _whisker(row: pd.Series, axis: Axis, report: Report) -> Whisker:
    unit = headline_unit(report)
    better = (row["difference"] > 0) != (report.metric in LOWER_IS_BETTER)
    clear = is_clear(row["low"], row["high"], row["p_holm"])
    return Whisker(
        pipeline=str(row["pipeline"]),
        middle=axis.place(scaled(row["difference"], unit)),
        low=axis.place(scaled(row["low"], unit)),
        high=axis.place(scaled(row["high"], unit)),
        effect=("better" if better else "worse") if clear else "unclear",
        text=signed(row["difference"], unit),
        interval=interval(row["low"], row["high"], unit),
        p=p_value(row["p_holm"]),
        n=int(row["n"]),
        wins=int(row["wins"]),
    )


def _strip(name: str, color: int, part: pd.DataFrame, *, axis: Axis, unit: str, domain: str) -> Strip:
    defined = part.dropna(subset=["value"]).sort_values(["value", "case"], kind="stable")
    values = [scaled(v, unit) for v in defined["value"]]
    dots = tuple(
        Dot(axis.place(value), _jitter(place), f"{case}: {plain(raw, unit)}")
        for place, (value, raw, case) in enumerate(zip(values, defined["value"], defined["case"], strict=True))
    )
    lacking = len(part) - len(defined)
    undefined = f", {lacking} undefined" if lacking else ""
    if not dots:
        alt = f"{name} on {domain}: no case with a defined score{undefined}."
        return Strip(name, color % 8, (), None, None, "–", alt)
    low, middle, high = (float(v) for v in defined["value"].quantile([0.25, 0.5, 0.75]))
    alt = (
        f"{name} on {domain}: {len(dots)} cases{undefined}, median {plain(middle, unit)}, "
        f"quartiles {plain(low, unit)} and {plain(high, unit)}, "
        f"lowest {plain(defined['value'].iloc[0], unit)}, highest {plain(defined['value'].iloc[-1], unit)}."
    )
    quartiles = (axis.place(scaled(low, unit)), axis.place(scaled(high, unit)))
    return Strip(name, color % 8, dots, axis.place(scaled(middle, unit)), quartiles, plain(middle, unit), alt)


def _jitter(place: int) -> float:
    """A low-discrepancy sequence in -1 … 1: neighbours in value never sit on each other, and no two runs differ."""
    return round(2 * math.modf(place * _GOLDEN + 0.5)[0] - 1, 3)


def measure(report: Report) -> str:
    """What the plots' axes show: ``Dice points``, ``HD95 in mm``, with the region where there are several."""
    unit = headline_unit(report)
    shown = f"{title(report.metric)} points" if unit == "1" else f"{title(report.metric)} in {unit}"
    return f"{shown}, {report.headline_region}" if len(report.regions) > 1 else shown
