"""The tables of means and of paired differences.

A cell is bold only when its pipeline is the best of its column *and* its paired difference to the baseline is clear
there (interval excludes 0, Holm-adjusted p below 0.05). The baseline is never bold, nor is what is said of all unseen
domains together: that is not tested.
"""

from __future__ import annotations

import re

import pandas as pd

from unshift.evaluate.comparison import least_adjusted
from unshift.report.caption import baseline_name, bootstrap, conditions
from unshift.report.content import Report
from unshift.report.grid import Cell, Column, Row, Table
from unshift.report.number import (
    LOWER_IS_BETTER,
    UNDEFINED,
    interval,
    p_value,
    percent,
    plain,
    signed,
    title,
    unit_name,
)
from unshift.report.reference import reference_table
from unshift.report.verdict import LEVEL, is_clear
from unshift.report.weakness import weakness_tables

DAGGER = "†"
_COUNTS = (("n", "cases"), ("n_patients", "patients"), ("n_undefined", "undefined"))


def all_tables(report: Report) -> list[Table]:
    """Headline, differences, then where pipelines are weakest, then one table for each further metric."""
    others = [str(m) for m in report.summary["metric"].unique() if m != report.metric]
    return [
        headline_table(report),
        differences_table(report),
        *weakness_tables(report),
        *([] if report.references is None else [reference_table(report)]),
        *[metric_table(report, metric) for metric in others],
    ]


def headline_table(report: Report) -> Table:
    """Pipelines x domains of the headline metric; regions, where there are several, in groups of rows."""
    return metric_table(report, report.metric, name="headline")


def metric_table(report: Report, metric: str, *, name: str | None = None) -> Table:
    """Pipelines x domains of one metric, with counts of undefined and missing scores."""
    part = report.summary[report.summary["metric"] == metric]
    pooled, _ = report.together(metric)
    kinds = list(dict.fromkeys(zip(part["region"].astype(str), part["unit"].astype(str), strict=True)))
    several = [len({kind[i] for kind in kinds}) > 1 for i in (0, 1)]
    rows = [
        row
        for kind in kinds
        for row in _rows(
            report, metric, kind, group=", ".join(n for n, many in zip(kind, several, strict=True) if many)
        )
    ]
    return Table(
        name or f"metric_{re.sub(r'[^A-Za-z0-9_-]', '_', metric)}",
        f"{title(metric)} by domain and region" if several[0] else f"{title(metric)} by domain",
        _caption(report, metric, sorted({unit for _, unit in kinds})),
        "pipeline",
        (
            *[Column(domain, "in-domain" if seen else "unseen") for domain, seen in report.columns()],
            *([Column("all unseen", _count(report))] if len(pooled) else []),
        ),
        tuple(rows),
        _joined(part, pooled),
        report.is_oracle,
    )


def differences_table(report: Report) -> Table:
    """Every paired comparison of the headline metric, by domain, then over all unseen domains."""
    frame = report.comparisons[report.comparisons["metric"] == report.metric]
    unit = str(report.summary.loc[report.summary["metric"] == report.metric, "unit"].iloc[0])
    counts = [(column, label) for column, label in _COUNTS if column in frame.columns]
    several = frame["region"].nunique() > 1
    _, pooled = report.together(report.metric)
    hopeless = [*_hopeless(frame), *[False] * len(pooled)]
    frame = _joined(frame, pooled)
    rows = []
    for place, ((_, row), is_hopeless) in enumerate(zip(frame.iterrows(), hopeless, strict=True)):
        cells = (
            Cell(signed(row["difference"], unit), is_bold=is_clear(row["low"], row["high"], row["p_holm"])),
            Cell(interval(row["low"], row["high"], unit)),
            Cell(p_value(row["p_holm"]) + (f" {DAGGER}" if is_hopeless else "")),
            Cell(str(int(row["wins"]))),
            *[Cell(str(int(row[column]))) for column, _ in counts],
        )
        seen = row["seen"] if "seen" in frame.columns else row["domain"] not in report.unseen()
        name = f"{row['pipeline']}, {row['region']}" if several else str(row["pipeline"])
        where = f"{row['domain']} ({'in-domain' if seen else 'unseen'})"
        rows.append(Row(name, cells, where if place < len(frame) - len(pooled) else f"all unseen ({_count(report)})"))
    labels = (
        "difference",
        f"{percent(report.confidence)} interval",
        "p (Holm)",
        "wins",
        *[label for _, label in counts],
    )
    caption = (
        f"{title(report.metric)} in {unit_name(unit)}, pipeline minus {baseline_name(report)}, paired by case; "
        f"{bootstrap(report)}; Wilcoxon signed-rank test on patients, p after Holm's correction. Wins: cases in which "
        f"the pipeline is better. Bold: interval excludes 0 and adjusted p < 0.05. "
        f"{_HOPELESS if any(hopeless) else ''}{_TOGETHER if len(pooled) else ''}{conditions(report)}"
    )
    columns = tuple(Column(label) for label in labels)
    return Table(
        "differences", "Paired differences", caption, "pipeline", columns, tuple(rows), frame, report.is_oracle
    )


_HOPELESS = (
    f"{DAGGER}: too few patients for a test; whatever the differences, the adjusted p could not be below {LEVEL}, for "
    "the signed-rank test of n patients gives 2^(1−n) at the least, and Holm's correction multiplies it by the number "
    "of tests of so few patients. So a row with the mark says nothing for or against a difference. A row without it "
    "may still be out of reach, for patients without any difference do not count in the test. "
)


_TOGETHER = (
    "All unseen: the mean of the domains' means, so that a large domain counts no more than a small one; patients are "
    "drawn within each domain. It is not tested, so it has no p, never is bold, and no correction for the number of "
    "pipelines is in its interval. "
)


def _count(report: Report) -> str:
    return f"mean of {len(report.unseen())} domains"


def _joined(frame: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Rows by domain, then those over all unseen domains; ``n_domains`` only where there are such."""
    return pd.concat([frame.assign(n_domains=1), pooled], ignore_index=True) if len(pooled) else frame


def _hopeless(frame: pd.DataFrame) -> list[bool]:
    """Rows whose adjusted p value no differences could bring below the level."""
    if "n_patients" not in frame.columns:  # as for the counts: a table made elsewhere may not say
        return [False] * len(frame)
    return [bool(least >= LEVEL) for least in least_adjusted(frame)]


def best_in(report: Report, metric: str, kind: tuple[str, str], domain: str, *, seen: bool) -> str | None:
    """The pipeline that may be set bold in one column, or None.

    It has the best mean of all *and* a clear paired difference to the baseline. ``kind`` is (region, unit).
    """
    part = _part(report.summary, metric, kind)
    part = part[(part["domain"] == domain) & (part["seen"] == seen)].dropna(subset=["mean"])
    if part.empty:
        return None
    place = part["mean"].idxmin() if metric in LOWER_IS_BETTER else part["mean"].idxmax()
    best = str(part.loc[place, "pipeline"])
    frame = _part(report.comparisons, metric, kind)
    frame = frame[(frame["pipeline"] == best) & (frame["domain"] == domain)]
    if "seen" in frame.columns:
        frame = frame[frame["seen"] == seen]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    clear = [is_clear(r["low"], r["high"], r["p_holm"]) and sign * r["difference"] > 0 for _, r in frame.iterrows()]
    return best if any(clear) else None


def _rows(report: Report, metric: str, kind: tuple[str, str], *, group: str) -> list[Row]:
    part = _part(report.summary, metric, kind)
    keyed = {(str(r["pipeline"]), str(r["domain"]), bool(r["seen"])): r for _, r in part.iterrows()}
    best = {place: best_in(report, metric, kind, place[0], seen=place[1]) for place in report.columns()}
    pooled, _ = report.together(metric)
    means = {str(r["pipeline"]): r for _, r in _part(pooled, metric, kind).iterrows()}
    return [
        Row(
            pipeline,
            (
                *[_cell(keyed.get((pipeline, *at)), is_bold=best[at] == pipeline) for at in report.columns()],
                *([_cell(means.get(pipeline), is_bold=False, domains=len(report.unseen()))] if len(pooled) else []),
            ),
            group,
        )
        for pipeline in report.pipelines
        if pipeline in set(part["pipeline"])
    ]


def _cell(row: pd.Series | None, *, is_bold: bool, domains: int | None = None) -> Cell:
    """Of a mean over ``domains``, or of one domain's; a domain in which nothing is defined enters no mean."""
    if row is None:
        return Cell(UNDEFINED, ("not scored",))
    counts = [f"n {int(row['n_scored'])}"]
    counts += [f"{int(row[f'n_{kind}'])} {kind}" for kind in ("undefined", "missing") if row[f"n_{kind}"]]
    fewer = domains is not None and row["n_domains"] < domains
    counts += [f"{int(row['n_domains'])} of {domains} domains"] if fewer else []
    return Cell(plain(row["mean"], row["unit"]), (interval(row["low"], row["high"], row["unit"]), *counts), is_bold)


def _caption(report: Report, metric: str, units: list[str]) -> str:
    better = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
    pooled, _ = report.together(metric)
    scale = "points (0 to 100)" if units == ["1"] else " and ".join(map(unit_name, units))
    return (
        f"{title(metric)} in {scale}, {better}: mean over cases, {bootstrap(report)}, and n cases. "
        f"Bold: best of its column, and its paired difference to {baseline_name(report)} has an interval that excludes "
        f"0 and a Wilcoxon p below 0.05 after Holm's correction. {_TOGETHER if len(pooled) else ''}{conditions(report)}"
    )


def _part(frame: pd.DataFrame, metric: str, kind: tuple[str, str]) -> pd.DataFrame:
    chosen = (frame["metric"] == metric) & (frame["region"] == kind[0])
    return frame[chosen & (frame["unit"] == kind[1])] if "unit" in frame.columns else frame[chosen]
