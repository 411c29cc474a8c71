"""The report's tables as data, and as CSV, Markdown and LaTeX.

A cell is bold only when its pipeline is the best of its column *and* its paired difference to the baseline is clear
there (interval excludes 0, Holm-adjusted p below 0.05). The baseline is never bold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from unshift.report.content import Report
from unshift.report.number import LOWER_IS_BETTER, interval, p_value, plain, signed, title, unit_name
from unshift.report.verdict import is_clear

ORACLE = "ORACLE: weights were selected with the target's own labels; not a result that could be had in practice."


@dataclass(frozen=True)
class Cell:
    """``text`` and, below it, smaller lines."""

    text: str
    details: tuple[str, ...] = ()
    is_bold: bool = False


@dataclass(frozen=True)
class Column:
    """A column and the group that it stands in (``in-domain``, ``unseen``, or none)."""

    label: str
    group: str = ""


@dataclass(frozen=True)
class Row:
    """A row; rows of one ``group`` (a region) stand together."""

    head: str
    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table: for people (``columns``, ``rows``) and for programs (``frame``, full precision).

    Args:
        name: stem of its files.
        corner: what the row heads are.
    """

    name: str
    title: str
    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    frame: pd.DataFrame = field(repr=False)
    is_oracle: bool = False

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Column groups with their widths, in order."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    @property
    def bodies(self) -> list[tuple[str, list[Row]]]:
        """Rows by group, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return list(found.items())


def all_tables(report: Report) -> list[Table]:
    """Headline, differences, worst rows (when given), then one table a metric."""
    metrics = [str(m) for m in report.summary["metric"].unique()]
    worst = [worst_table(report)] if report.worst is not None else []
    return [headline_table(report), differences_table(report), *worst, *[metric_table(report, m) for m in metrics]]


def headline_table(report: Report) -> Table:
    """Pipelines x domains of the headline metric and region."""
    rows = _rows(report, report.metric, report.headline_region, group="")
    frame = _part(report.summary, report.metric, report.headline_region)
    region = report.headline_region
    named = f", {_region(region)}" if report.summary["region"].nunique() > 1 else ""
    heading = f"{title(report.metric)}{named} by domain"
    return Table(
        "headline",
        heading,
        _caption(report, report.metric),
        "pipeline",
        _columns(report),
        rows,
        frame,
        report.is_oracle,
    )


def metric_table(report: Report, metric: str) -> Table:
    """(region, pipeline) x domains of one metric, with counts of undefined and missing scores."""
    part = report.summary[report.summary["metric"] == metric]
    regions = [str(r) for r in part["region"].unique()]
    rows = [
        row
        for region in regions
        for row in _rows(report, metric, region, group=_region(region) if len(regions) > 1 else "")
    ]
    return Table(
        f"metric_{re.sub(r'[^A-Za-z0-9_-]', '_', metric)}",
        f"{title(metric)} by region" if len(regions) > 1 else title(metric),
        _caption(report, metric),
        "pipeline",
        _columns(report),
        tuple(rows),
        part,
        report.is_oracle,
    )


def differences_table(report: Report) -> Table:
    """Every paired comparison of the headline metric."""
    frame = report.comparisons[report.comparisons["metric"] == report.metric]
    unit = _unit(report, report.metric)
    labels = ("difference", "95 % interval", "p (Holm)", "wins", "patients")
    rows = []
    for _, row in frame.iterrows():
        clear = is_clear(row["low"], row["high"], row["p_holm"])
        cells = (
            Cell(signed(row["difference"], unit), is_bold=clear),
            Cell(interval(row["low"], row["high"], unit)),
            Cell(p_value(row["p_holm"])),
            Cell(str(int(row["wins"]))),
            Cell(str(int(row["n"]))),
        )
        group = str(row["domain"]) + _seen_mark(row, report)
        name = str(row["pipeline"])
        rows.append(Row(f"{name}, {_region(row['region'])}" if frame["region"].nunique() > 1 else name, cells, group))
    caption = (
        f"Paired difference to {baseline_name(report)} in {title(report.metric)} {unit_name(unit)}, per patient; "
        f"95 % bootstrap interval clustered by patient; Wilcoxon signed-rank test, p adjusted by Holm. "
        f"Bold: interval excludes 0 and adjusted p < 0.05. {_conditions(report)}"
    )
    columns = tuple(Column(label) for label in labels)
    return Table(
        "differences", "Paired differences", caption, "pipeline", columns, tuple(rows), frame, report.is_oracle
    )


def worst_table(report: Report) -> Table:
    """Worst domain and worst tenth of cases of each pipeline."""
    assert report.worst is not None
    unit = _unit(report, report.metric)
    frame = report.worst
    kinds = [str(kind) for kind in frame["row"].unique()]
    rows = []
    for pipeline in _in_order(frame["pipeline"].unique(), report):
        part = frame[frame["pipeline"] == pipeline].set_index("row")
        cells = [
            Cell(plain(part.loc[k, "value"], unit), (str(part.loc[k, "where"]), f"n {int(part.loc[k, 'n'])}"))
            if k in part.index
            else Cell("–")
            for k in kinds
        ]
        rows.append(Row(pipeline, tuple(cells)))
    caption = (
        f"{title(report.metric)} in {unit_name(unit)} where each pipeline is weakest on unseen domains: the mean of "
        f"its worst domain, and of its worst tenth of patients. {_conditions(report)}"
    )
    columns = tuple(Column(kind) for kind in kinds)
    return Table("worst", "Where it is weakest", caption, "pipeline", columns, tuple(rows), frame, report.is_oracle)


def best_in(report: Report, metric: str, region: str, domain: str, *, seen: bool) -> str | None:
    """The pipeline that may be set bold in one column, or None.

    It has the best mean of all *and* a clear paired difference to the baseline.
    """
    part = _part(report.summary, metric, region)
    part = part[(part["domain"] == domain) & (part["seen"] == seen)].dropna(subset=["mean"])
    if part.empty:
        return None
    place = part["mean"].idxmin() if metric in LOWER_IS_BETTER else part["mean"].idxmax()
    best = str(part.loc[place, "pipeline"])
    frame = _part(report.comparisons, metric, region)
    frame = frame[(frame["pipeline"] == best) & (frame["domain"] == domain)]
    if "seen" in frame.columns:
        frame = frame[frame["seen"] == seen]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    clear = [is_clear(r["low"], r["high"], r["p_holm"]) and sign * r["difference"] > 0 for _, r in frame.iterrows()]
    return best if any(clear) else None


def baseline_name(report: Report) -> str:
    """How prose names the baseline."""
    return "the baseline" if report.baseline == "baseline" else f"the baseline {report.baseline}"


def _rows(report: Report, metric: str, region: str, *, group: str) -> tuple[Row, ...]:
    part = _part(report.summary, metric, region)
    keyed = {(str(r["pipeline"]), str(r["domain"]), bool(r["seen"])): r for _, r in part.iterrows()}
    best = {(d, s): best_in(report, metric, region, d, seen=s) for d, s in report.columns()}
    rows = []
    for pipeline in _in_order(part["pipeline"].unique(), report):
        cells = [
            _cell(keyed.get((pipeline, domain, seen)), is_bold=best[domain, seen] == pipeline)
            for domain, seen in report.columns()
        ]
        rows.append(Row(pipeline, tuple(cells), group))
    return tuple(rows)


def _cell(row: pd.Series | None, *, is_bold: bool) -> Cell:
    if row is None:
        return Cell("–", ("not scored",))
    counts = [f"n {int(row['n_scored'])}"]
    counts += [f"{int(row[f'n_{kind}'])} {kind}" for kind in ("undefined", "missing") if row[f"n_{kind}"]]
    return Cell(plain(row["mean"], row["unit"]), (interval(row["low"], row["high"], row["unit"]), *counts), is_bold)


def _columns(report: Report) -> tuple[Column, ...]:
    return tuple(Column(domain, "in-domain" if seen else "unseen") for domain, seen in report.columns())


def _caption(report: Report, metric: str) -> str:
    unit = _unit(report, metric)
    scale = "points (0 to 100, higher is better)" if unit == "1" else f"{unit} (lower is better)"
    return (
        f"{title(metric)} in {scale}: mean over patients, 95 % bootstrap interval clustered by patient, and n. "
        f"Bold: best of its column, and its paired difference to {baseline_name(report)} has an interval that excludes "
        f"0 and a Wilcoxon p below 0.05 after Holm's correction. {_conditions(report)}"
    )


def _conditions(report: Report) -> str:
    mark = f" {ORACLE}" if report.is_oracle and "ORACLE" not in report.selection else ""
    return (
        f"{report.selection.rstrip('.')}. Scored on {report.resolution}. "
        f"Post-processing: {report.postprocessing}.{mark}"
    )


def _part(frame: pd.DataFrame, metric: str, region: str) -> pd.DataFrame:
    return frame[(frame["metric"] == metric) & (frame["region"] == region)]


def _unit(report: Report, metric: str) -> str:
    return " and ".join(report.summary.loc[report.summary["metric"] == metric, "unit"].unique())


def _in_order(names: Iterable[str], report: Report) -> list[str]:
    order = list(report.pipelines)
    return sorted(map(str, names), key=order.index)


def _seen_mark(row: pd.Series, report: Report) -> str:
    seen = row["seen"] if "seen" in row.index else str(row["domain"]) not in report.unseen()
    return " (in-domain)" if seen else " (unseen)"


def _region(region: str) -> str:
    return "mean over regions" if region == "mean" else str(region)
