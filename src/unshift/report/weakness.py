"""Tables beside the means: where pipelines are weakest, their ranks, the part of the gap recovered, false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from unshift.evaluate.statistics import ranks
from unshift.report.caption import baseline_name, bootstrap, conditions
from unshift.report.content import Report
from unshift.report.grid import Cell, Column, Row, Table
from unshift.report.number import UNDEFINED, interval, plain, title, unit_name


def weakness_tables(report: Report) -> list[Table]:
    """Worst rows, ranks, gap recovery and false alarms: those that were computed and are not empty."""
    made = ((report.worst, worst_table), (report.recovery, recovery_table), (report.false_alarms, alarm_table))
    found = [make(report) for frame, make in made if frame is not None and len(frame)]
    if report.worst is not None and len(report.pipelines) > 1:
        ranked = rank_table(report)
        found[1:1] = [ranked] if ranked.rows else []  # none where nothing unseen is defined for every pipeline
    return found


def worst_table(report: Report) -> Table:
    """Worst domain and worst tenth of patients of each pipeline, on unseen domains."""
    assert report.worst is not None
    unit = str(report.summary.loc[report.summary["metric"] == report.metric, "unit"].iloc[0])
    frame = report.worst
    kinds = [str(kind) for kind in frame["row"].unique()]
    cells = {
        (str(r["pipeline"]), str(r["row"])): Cell(plain(r["value"], unit), (str(r["where"]), f"n {int(r['n'])}"))
        for _, r in frame.iterrows()
    }
    caption = (
        f"{title(report.metric)}{_in_region(report)} in {unit_name(unit)} where each pipeline is weakest on unseen "
        "domains: the mean of its worst domain (n cases), and of its worst tenth of patients (n patients). "
        f"{conditions(report)}"
    )
    return _table(
        "worst", "Where it is weakest", caption, frame, cells, columns=[(kind, kind) for kind in kinds], report=report
    )


def rank_table(report: Report) -> Table:
    """Each pipeline's place on every unseen domain, and its mean over domains and over patients."""
    frame = ranks(report.scores, metric=report.metric, region=report.headline_region)
    cells = {
        (str(r["pipeline"]), str(r["row"])): Cell(f"{r['rank']:.1f}".removesuffix(".0"), (f"n {int(r['n'])}",))
        for _, r in frame.iterrows()
    }
    caption = (
        f"Rank by {title(report.metric)}{_in_region(report)} among the {len(report.pipelines)} pipelines on unseen "
        "domains, 1 is best: of the mean over each domain's cases (n cases), the mean of these ranks (n domains), and "
        "the mean over patients of the rank for each (n patients). A rank says nothing about the size of a difference. "
        f"{conditions(report)}"
    )
    columns = [(row, row) for row in map(str, frame["row"].unique())]
    return _table("ranks", "Ranks", caption, frame, cells, columns=columns, report=report)


def recovery_table(report: Report) -> Table:
    """Share of the gap between source-only and trained-on-target that each pipeline recovers, in percent."""
    assert report.recovery is not None
    frame = report.recovery[report.recovery["metric"] == report.metric]
    cells = {
        (str(r["pipeline"]), (str(r["domain"]), str(r["region"]))): Cell(
            plain(r["recovery"], "1"), (interval(r["low"], r["high"], "1"), str(r["note"]) or f"n {int(r['n'])}")
        )
        for _, r in frame.iterrows()
    }
    places = list(dict.fromkeys(zip(frame["domain"].astype(str), frame["region"].astype(str), strict=True)))
    several = frame["region"].nunique() > 1
    columns = [(place, f"{place[0]}, {place[1]}" if several else place[0]) for place in places]
    caption = (
        f"Gap recovery in percent: 0 is {baseline_name(report)}, 100 is training on the target itself, below 0 is "
        f"harm; {bootstrap(report)}. {title(report.metric)}. {conditions(report)}"
    )
    return _table("recovery", "Gap recovered", caption, frame, cells, columns=columns, report=report)


def alarm_table(report: Report) -> Table:
    """Of the images without the structure, those in which a pipeline found it all the same."""
    assert report.false_alarms is not None
    frame = report.false_alarms
    keys = ["domain", "seen", "region"]
    cells = {
        (str(r["pipeline"]), tuple(r[keys])): Cell(
            f"{100 * r['rate']:.0f} %", (f"{r['n_false_alarm']:g} of {int(r['n_empty'])}",)
        )
        for _, r in frame.iterrows()
    }
    places = list(dict.fromkeys(map(tuple, frame[keys].itertuples(index=False))))
    several = frame["region"].nunique() > 1
    columns = [
        (place, f"{place[0]}{'' if not place[1] else ' (in-domain)'}{f', {place[2]}' if several else ''}")
        for place in places
    ]
    caption = (
        "Images whose reference is empty, and in how many of them something was predicted all the same (seeds "
        f"averaged). {conditions(report)}"
    )
    return _table("false_alarms", "False alarms", caption, frame, cells, columns=columns, report=report)


def _table(
    name: str,
    heading: str,
    caption: str,
    frame: pd.DataFrame,
    cells: Mapping[tuple[str, Any], Cell],
    *,
    columns: Sequence[tuple[Any, str]],
    report: Report,
) -> Table:
    """``cells`` by (pipeline, column key) as a table; ``columns`` are (key, label)."""
    here = set(frame["pipeline"].astype(str))
    rows = [
        Row(pipeline, tuple(cells.get((pipeline, key), Cell(UNDEFINED)) for key, _ in columns))
        for pipeline in report.pipelines
        if pipeline in here
    ]
    labels = tuple(Column(label) for _, label in columns)
    return Table(name, heading, caption, "pipeline", labels, tuple(rows), frame, report.is_oracle)


def _in_region(report: Report) -> str:
    return f" for {report.headline_region}" if len(report.regions) > 1 else ""
