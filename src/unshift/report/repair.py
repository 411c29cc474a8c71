"""The page of `unshift robustify`: what a repair gains under simulated shifts, what it costs, and what was checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unshift.evaluate.choice import IN_DOMAIN, NONE, SHIFTS, Choice, Interval, Standing
from unshift.evaluate.comparison import few_patients
from unshift.report.axis import Axis, axis_over
from unshift.report.content import GalleryItem
from unshift.report.figure import Forest, Whisker
from unshift.report.frame import render_page
from unshift.report.gallery import shelves
from unshift.report.grid import Cell, Column, Row, Table
from unshift.report.invariance import panels
from unshift.report.number import interval, p_value, percent, plain, signed
from unshift.report.tablefile import replace_text, write_tables


@dataclass(frozen=True)
class RepairReport:
    """Everything that the page shows; nothing here is computed or drawn.

    Args:
        title: what was repaired.
        subject: where the model is from, in a sentence.
        is_labeled: scores are Dice with references; else agreement with the network's own unshifted prediction.
        choice: with the standing of every candidate.
        rule: by which it was chosen.
        summary: columns pipeline, domain, mean, low, high; mean over regions, every place.
        comparisons: pipeline minus ``none``: pipeline, domain, difference, low, high, p_holm, n, n_patients, wins.
        shifts: columns domain, preset, strength, in the order of the tables.
        taps: name, stride, channels; and whether the choice restyles there.
        distances: columns tap, place, before, after, of ``measured``; empty where no units were fitted.
        milliseconds: candidate -> time of predicting one image.
        gallery: of ``none`` and the choice.
        checks: name, whether it holds, detail.
        notes: heading -> sentences: how it was done and what it does not say.
        doubts: what is odd about the model on its own images; stands first.
    """

    title: str
    subject: str
    is_labeled: bool
    choice: Choice
    rule: str
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    shifts: pd.DataFrame
    taps: Sequence[tuple[str, int, int, bool]]
    distances: pd.DataFrame
    measured: str
    milliseconds: Mapping[str, float]
    gallery: Sequence[GalleryItem]
    checks: Sequence[tuple[str, bool, str]]
    notes: Mapping[str, str]
    command: str
    environment: Mapping[str, str]
    code_version: str
    confidence: float = 0.95
    is_oracle: bool = False
    doubts: Sequence[str] = ()

    @property
    def caution(self) -> str:
        """What so few patients cannot say; no p value is shown then."""
        return few_patients(self.comparisons, confidence=self.confidence)

    @property
    def measure(self) -> str:
        """``Dice points`` or ``agreement points``."""
        return "Dice points" if self.is_labeled else "agreement points"


def write_repair_report(folder: Path, report: RepairReport) -> Path:
    """Write ``report.html`` and ``tables/`` into ``folder``; returns the page's path."""
    page = render_repair(report)
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder / "tables", repair_tables(report))
    return replace_text(folder / "report.html", page)


def render_repair(report: RepairReport) -> str:
    """The page; every text is escaped."""
    axis, found = forests(report)
    context: dict[str, Any] = {
        "report": report,
        "sentence": sentence(report),
        "tiles": tiles(report),
        "tables": {table.name: table for table in repair_tables(report)},
        "panels": panels(report.summary, report.shifts, highlighted=report.choice.name),
        "measure": report.measure,
        "forest_axis": axis,
        "forests": found,
        "shelves": shelves(report.gallery, metric="dice" if report.is_labeled else "agreement", unit="1"),
        "confidence": percent(report.confidence),
        "unrepaired": NONE,
    }
    return render_page("repair.html.jinja", context, styles=("style.css", "repair.css"))


def sentence(report: RepairReport) -> str:
    """The verdict, no stronger than the numbers."""
    choice, found, before = report.choice, report.choice.standing, report.choice.before
    measure = report.measure
    if choice.name == NONE:
        others = [s for s in choice.standings if s.name != NONE]
        text = "The network stays as it is"
        if choice.is_forced:
            return f"{text}, as it was asked for."
        if not others:
            return f"{text}: there was no candidate."
        nearest = max(others, key=lambda s: s.shifted.mean)
        return (
            f"{text}: no candidate gains clearly under the simulated shifts at a tolerable cost. The best there, "
            f"`{nearest.name}`, changes {signed(nearest.gain.mean, '1')} {measure} ({_range(nearest.gain, report)}) "
            f"and {signed(nearest.change.mean, '1')} in-domain."
        )
    verb = "raises" if found.gain.low > 0 else "lowers" if found.gain.high < 0 else "does not clearly change"
    what = "Dice" if report.is_labeled else "agreement with its own unshifted prediction"
    hand = ", chosen by hand," if choice.is_forced else ""
    same = found.change == (0.0, 0.0, 0.0)
    cost = "changes nothing" if same else f"changes {signed(found.change.mean, '1')} ({_range(found.change, report)})"
    return (
        f"`{choice.name}`{hand} {verb} {what} under simulated shifts from {plain(before.shifted.mean, '1')} to "
        f"{plain(found.shifted.mean, '1')} ({signed(found.gain.mean, '1')}, {_range(found.gain, report)}); "
        f"in-domain it {cost}."
    )


def tiles(report: RepairReport) -> list[dict[str, str]]:
    """Before and after: over the shifts, at the worst one, in-domain."""
    found, before = report.choice.standing, report.choice.before
    rows = [
        ("over the simulated shifts", before.shifted.mean, found.shifted.mean, "mean of all presets and strengths"),
        ("at the worst shift", before.worst[1], found.worst[1], _worst(before, found)),
        ("in-domain", before.in_domain.mean, found.in_domain.mean, "held-out source images as they are"),
    ]
    return [
        {
            "heading": heading,
            "before": plain(first, "1"),
            "after": plain(second, "1"),
            "change": signed(second - first, "1"),
            "effect": "better" if second - first > 0.0005 else "worse" if first - second > 0.0005 else "unclear",
            "what": what,
        }
        for heading, first, second, what in rows
    ]


def _worst(before: Standing, found: Standing) -> str:
    return before.worst[0] if before.worst[0] == found.worst[0] else f"{before.worst[0]}, then {found.worst[0]}"


def forests(report: RepairReport) -> tuple[Axis | None, list[Forest]]:
    """Gain over the shifts and change in-domain of every candidate, on one axis that holds 0."""
    others = [s for s in report.choice.standings if s.name != NONE]
    ends = [100 * v for s in others for part in (s.gain, s.change) for v in part if math.isfinite(v)]
    if not ends:
        return None, []
    axis = axis_over(ends, include=0.0)
    rows, tested = report.comparisons.set_index(["pipeline", "domain"]), not report.caution
    found = []
    for place, heading in ((SHIFTS, "Gain: mean over the simulated shifts"), (IN_DOMAIN, "Cost: in-domain")):
        parts = [(s.name, s.gain if place == SHIFTS else s.change) for s in others]
        found.append(
            Forest(
                heading,
                tuple(_whisker(name, part, rows.loc[(name, place)], axis, tested=tested) for name, part in parts),
            )
        )
    return axis, found


def _whisker(name: str, part: Interval, row: pd.Series, axis: Axis, *, tested: bool) -> Whisker:
    clear = part.low > 0 or part.high < 0
    low, high = (part.low, part.high) if math.isfinite(part.low) else (part.mean, part.mean)
    return Whisker(
        pipeline=name,
        middle=axis.place(100 * part.mean),
        low=axis.place(100 * low),
        high=axis.place(100 * high),
        effect=("better" if part.mean > 0 else "worse") if clear else "unclear",
        text=signed(part.mean, "1"),
        interval=interval(part.low, part.high, "1"),
        p=p_value(float(row["p_holm"])) if tested else "",
        n=int(row["n"]),
        wins=int(row["wins"]),
    )


def repair_tables(report: RepairReport) -> list[Table]:
    """Candidates; candidates at every place; taps; distances where units were fitted."""
    found = [_candidates(report), _places(report), _taps(report)]
    return [*found, _distances(report)] if len(report.distances) else found


def _candidates(report: RepairReport) -> Table:
    rows, records = [], []
    for s in report.choice.standings:
        chosen = s.name == report.choice.name
        ms = report.milliseconds[s.name]
        change = () if s.name == NONE else (f"{signed(s.change.mean, '1')}, {_plain(s.change)}",)
        gain = () if s.name == NONE else (f"{signed(s.gain.mean, '1')}, {_plain(s.gain)}",)
        cells = (
            Cell(plain(s.shifted.mean, "1"), gain, chosen),
            Cell(plain(s.in_domain.mean, "1"), change, chosen),
            Cell(plain(s.worst[1], "1"), (s.worst[0],), chosen),
            Cell(f"{ms:.0f}" if ms >= 10 else f"{ms:.1f}", (), chosen),
            Cell("chosen" if chosen else "", (s.verdict,) if s.verdict else (), chosen),
        )
        rows.append(Row(s.name, cells))
        records.append(_flat(s) | {"milliseconds": ms, "chosen": chosen})
    columns = ("over the shifts", "in-domain", "worst shift", "ms an image", "by the rule")
    caption = (
        f"Mean {report.measure} of held-out source images; below it the paired difference to {NONE} with its "
        f"{percent(report.confidence)} bootstrap interval clustered by patient. {report.rule}"
    )
    frame = pd.DataFrame(records)
    return Table("candidates", "Candidates", caption, "candidate", tuple(map(Column, columns)), tuple(rows), frame)


def _flat(standing: Standing) -> dict[str, Any]:
    parts = {name: getattr(standing, name) for name in ("shifted", "gain", "in_domain", "change")}
    flat = {f"{name}_{key}": value for name, part in parts.items() for key, value in part._asdict().items()}
    return {"candidate": standing.name, **flat, "worst_shift": standing.worst[0], "worst": standing.worst[1]}


def _places(report: RepairReport) -> Table:
    records = report.summary[["pipeline", "domain", "mean", "low", "high"]].itertuples(index=False, name=None)
    means = {(pipeline, domain): Interval(*values) for pipeline, domain, *values in records}
    places = [(IN_DOMAIN, ""), *zip(report.shifts["domain"], "preset " + report.shifts["preset"], strict=True)]
    rows = []
    for standing in report.choice.standings:
        found = [means[standing.name, place] for place, _ in places]
        is_bold = standing.name == report.choice.name
        rows.append(Row(standing.name, tuple(Cell(plain(f.mean, "1"), (_plain(f),), is_bold) for f in found)))
    caption = f"Mean {report.measure} with its {percent(report.confidence)} interval; the number behind @ is strength."
    columns = tuple(Column(place, group) for place, group in places)
    return Table("places", "Every shift", caption, "candidate", columns, tuple(rows), report.summary)


def _taps(report: RepairReport) -> Table:
    rows = tuple(
        Row(name, (Cell(str(stride)), Cell(str(channels)), Cell("yes" if used else "–", (), used)))
        for name, stride, channels, used in report.taps
    )
    caption = "Where features pass from the encoder to the decoder: input pixels per feature pixel, and channels."
    frame = pd.DataFrame(report.taps, columns=["tap", "stride", "channels", "restyled"])
    columns = (Column("stride"), Column("channels"), Column("restyled by the choice"))
    return Table("taps", "Taps", caption, "tap", columns, rows, frame)


def _distances(report: RepairReport) -> Table:
    frame = report.distances
    places = list(dict.fromkeys(frame["place"]))
    by = frame.set_index(["tap", "place"])
    rows = tuple(
        Row(
            tap,
            tuple(
                Cell(f"{by.loc[(tap, place), 'before']:.3g}", (f"{by.loc[(tap, place), 'after']:.3g} after",))
                for place in places
            ),
        )
        for tap in dict.fromkeys(frame["tap"])
    )
    caption = (
        f"Distance of channel means and deviations to the source's, ‖μ − b‖ + ‖σ − |w|‖, before and after "
        f"{report.measured}. No label is looked at. A gated repair leaves images alone that look like source images."
    )
    return Table("distances", "Distance to the source", caption, "tap", tuple(map(Column, places)), rows, frame)


def _range(part: Interval, report: RepairReport) -> str:
    return f"{percent(report.confidence)} interval {_plain(part)}"


def _plain(part: Interval) -> str:
    return interval(part.low, part.high, "1")
