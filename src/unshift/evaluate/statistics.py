"""Scores to tables: means with intervals, pooled rows, worst rows, ranks, false alarms.

Every interval is a percentile bootstrap of patients (:mod:`unshift.evaluate.bootstrap`). Rows of upper-bound folds
never enter; they serve :func:`unshift.evaluate.recovery.gap_recovery`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from unshift.errors import UnknownName
from unshift.evaluate.bootstrap import draw, interval
from unshift.evaluate.cases import CASE, COLUMN, Group, groups, held_out
from unshift.evaluate.comparison import compare, differences
from unshift.evaluate.recovery import gap_recovery
from unshift.evaluate.score import EvaluateConfig
from unshift.metrics.policy import METRICS

__all__ = [
    "all_unseen",
    "compare",
    "false_alarms",
    "gap_recovery",
    "pooled",
    "pooled_differences",
    "ranks",
    "summarize",
    "worst_rows",
]

_MEANS = ["mean", "low", "high"]
_COUNTS = ["n_scored", "n_undefined", "n_missing", "n_patients"]
_SUMMARY = ["pipeline", "domain", "seen", "region", "metric", "unit", *_MEANS, *_COUNTS]
_DIFFERENCES = [
    *("pipeline", "baseline", "domain", "seen", "region", "metric", "unit", "difference", "low", "high", "p", "p_holm"),
    *("n", "n_patients", "n_undefined", "wins", "ties", "losses", "n_domains"),
]


def summarize(frame: pd.DataFrame, *, config: EvaluateConfig | None = None, seed: int = 0) -> pd.DataFrame:
    """Mean over cases of each pipeline, domain, region and metric, in-domain and unseen.

    Args:
        frame: rows of :class:`unshift.sample.Score`.
        config: number of resamples and confidence.
        seed: of the bootstrap.

    Returns:
        Columns pipeline, domain, seen, region, metric, unit, mean, low, high, n_scored, n_undefined, n_missing,
        n_patients. ``n_undefined`` cases have no value by the policy for empty masks; ``n_missing`` cases were scored
        for another pipeline but not for this one. An interval is NaN with fewer than two patients. Order of
        pipelines, regions and metrics is that of the frame.

    Raises:
        DataError, ProtocolError: as :func:`unshift.evaluate.cases.held_out`.
    """
    config, rows = config or EvaluateConfig(), held_out(frame)
    table = pd.concat([_summary(group, config, seed) for group in groups(rows)], ignore_index=True)
    table = _ordered(table, rows)
    table.attrs["caption"] = (
        f"Mean over cases; [{config.confidence:.0%} interval: percentile bootstrap of patients, "
        f"{config.resamples} resamples]; several seeds are averaged per case first."
    )
    return table


def pooled(frame: pd.DataFrame, *, config: EvaluateConfig | None = None, seed: int = 0) -> pd.DataFrame:
    """One row for all unseen domains and one for all seen: the mean of the domains' means, each domain counting once.

    Intervals resample patients within each domain; domains that show the same patients (shifted images) share their
    draws, for copies are no independent evidence. A domain in which a metric is nowhere defined is left out of the
    mean; ``n_domains`` says how many entered. A patient whom several domains show counts once in ``n_patients``.

    Returns:
        The columns of :func:`summarize` and ``n_domains``; ``domain`` is ``all unseen`` or ``all seen``.
    """
    config, rows = config or EvaluateConfig(), held_out(frame)
    found: dict[bool, list[tuple[Group, np.ndarray]]] = {False: [], True: []}
    first: dict[tuple[str, ...], str] = {}
    for group in groups(rows):
        domain = first.setdefault(group.names, group.domain)  # the same people, shifted, are drawn together
        found[group.seen].append((group, group.clusters.replicates(_weights(group, config, seed, domain=domain))))
    tables = [_pooled(parts, seen, config) for seen, parts in found.items() if parts]
    return _ordered(pd.concat(tables, ignore_index=True), rows)


def pooled_differences(
    frame: pd.DataFrame, *, baseline: str, config: EvaluateConfig | None = None, seed: int = 0
) -> pd.DataFrame:
    """Every other pipeline minus ``baseline`` over all unseen domains: the mean of the domains' mean differences.

    Pairs are those of :func:`compare`, means and intervals those of :func:`pooled`. Nothing is tested, so that Holm's
    correction of the tests by domain stays what it is.

    Returns:
        The columns of :func:`compare` and ``n_domains``; ``domain`` is ``all unseen``; ``p`` and ``p_holm`` are NaN;
        wins, ties and losses count the cases of all domains. No row without other pipelines.

    Raises:
        UnknownName, ProtocolError: as :func:`compare`; no pipeline of that name was scored on an unseen domain.
    """
    rows = held_out(frame)
    pairs = differences(rows[~rows["seen"]], baseline).assign(dataset="")
    if pairs.empty:
        return pd.DataFrame(columns=_DIFFERENCES)
    cases = pairs.groupby([*COLUMN, *CASE], sort=False)["value"].mean().dropna().round(12).reset_index()
    better = cases["metric"].map({name: kind.sign for name, kind in METRICS.items()}) * cases["value"]
    counts = cases.assign(wins=better > 0, ties=better == 0, losses=better < 0).groupby(COLUMN)
    table = pooled(pairs, config=config, seed=seed).join(counts[["wins", "ties", "losses"]].sum(), on=COLUMN)
    table[["wins", "ties", "losses"]] = table[["wins", "ties", "losses"]].fillna(0).astype(int)
    table = table.rename(columns={"mean": "difference", "n_scored": "n"})
    return table.assign(baseline=baseline, p=np.nan, p_holm=np.nan)[_DIFFERENCES]


def all_unseen(
    frame: pd.DataFrame, *, baseline: str, config: EvaluateConfig | None = None, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`pooled` and :func:`pooled_differences` over the unseen domains; both without a row where these are not
    two or more, for then there is nothing to pool.

    Raises:
        UnknownName, ProtocolError: as :func:`compare`.
    """
    rows = held_out(frame)
    unseen = rows[~rows["seen"]].assign(dataset="")  # domains carry its name by now, where there are several
    if unseen["domain"].nunique() < 2:
        return pd.DataFrame(columns=[*_SUMMARY, "n_domains"]), pd.DataFrame(columns=_DIFFERENCES)
    return (
        pooled(unseen, config=config, seed=seed),
        pooled_differences(unseen, baseline=baseline, config=config, seed=seed),
    )


def worst_rows(frame: pd.DataFrame, *, metric: str | None = None, region: str | None = None) -> pd.DataFrame:
    """Where each pipeline is weakest on unseen domains: its worst domain, and its worst tenth of patients.

    A patient's value is the mean over the patient's cases; the worst tenth is rounded up.

    Args:
        frame: rows of :class:`unshift.sample.Score`.
        metric, region: default: those that stand first in the frame.

    Returns:
        Columns pipeline, seen, row (``worst domain`` or ``worst decile``), where (domain or domains), value, n
        (cases or patients). No row for a pipeline that has no defined value on an unseen domain.

    Raises:
        UnknownName: no such metric or region in the frame.
    """
    values, sign = _unseen(frame, metric, region)
    table = []
    for pipeline in values.index.unique("pipeline"):
        cases = values.xs(pipeline, level="pipeline")
        domains = cases.groupby("domain").agg(["mean", "size"])
        place = (domains["mean"] * sign).idxmin()
        table.append((pipeline, False, "worst domain", place, domains.loc[place, "mean"], domains.loc[place, "size"]))
        patients = cases.groupby(["domain", "patient"]).mean().sort_values(ascending=sign > 0, kind="stable")
        worst = patients.iloc[: math.ceil(len(patients) / 10)]
        where = ", ".join(dict.fromkeys(worst.index.get_level_values("domain")))
        table.append((pipeline, False, "worst decile", where, worst.mean(), len(worst)))
    return pd.DataFrame(table, columns=["pipeline", "seen", "row", "where", "value", "n"])


def ranks(frame: pd.DataFrame, *, metric: str | None = None, region: str | None = None) -> pd.DataFrame:
    """Place of each pipeline among all on unseen domains, 1 the best; equal values share the mean of their places.

    Args:
        frame, metric, region: as :func:`worst_rows`.

    Returns:
        Columns pipeline, row, rank, n. Rows: each domain, where means over cases are ranked (n cases); ``all domains``,
        the mean of these ranks (n domains); ``all patients``, the mean over patients of the ranks of their own means (n
        patients). Domains and patients without a value for every pipeline are left out.

    Raises:
        UnknownName: no such metric or region in the frame.
    """
    values, sign = _unseen(frame, metric, region)
    order, table = list(values.index.unique("pipeline")), []
    places = values.index.unique("domain")
    domains = _of_all(sign * values, order, ["domain"]).reindex(places).dropna().rank(axis=1, ascending=False)
    patients = _of_all(sign * values, order, ["domain", "patient"]).rank(axis=1, ascending=False)
    cases = values.groupby(["pipeline", "domain"]).size()
    for pipeline in order if len(domains) else ():
        table += [(pipeline, place, rank, cases[pipeline, place]) for place, rank in domains[pipeline].items()]
        table.append((pipeline, "all domains", domains[pipeline].mean(), len(domains)))
        table.append((pipeline, "all patients", patients[pipeline].mean(), len(patients)))
    return pd.DataFrame(table, columns=["pipeline", "row", "rank", "n"])


def _of_all(values: pd.Series, pipelines: list[str], keys: list[str]) -> pd.DataFrame:
    """Means over cases by ``keys``, a column for each pipeline; what one of them lacks is left out."""
    means = {name: values.xs(name, level="pipeline").groupby(keys).mean() for name in pipelines}
    return pd.DataFrame(means).dropna()


def false_alarms(frame: pd.DataFrame) -> pd.DataFrame:
    """Cases whose reference is empty, and in how many of them (seeds averaged) something was predicted all the same.

    Overlap metrics leave correctly empty cases out of their mean by default; this table is where they count.

    Returns:
        Columns pipeline, domain, seen, region, n_empty, n_false_alarm, rate; no row where no reference is empty.
    """
    rows = held_out(frame)
    empty = rows[rows["reference_voxels"] == 0]
    by = ["pipeline", "domain", "seen", "region"]
    once = empty.drop_duplicates([*by, "patient", "case", "fold", "seed"])
    cases = (
        once.assign(alarm=once["prediction_voxels"] > 0).groupby([*by, "patient", "case"], sort=False)["alarm"].mean()
    )
    table = cases.groupby(by, sort=False).agg(n_empty="size", n_false_alarm="sum", rate="mean")
    return table.reset_index()


def _weights(group: Group, config: EvaluateConfig, seed: int, *, domain: str = "") -> np.ndarray:
    return draw(len(group.names), config.resamples, seed, domain or group.domain, str(group.seen))


def _summary(group: Group, config: EvaluateConfig, seed: int) -> pd.DataFrame:
    clusters = group.clusters
    low, high = interval(clusters.replicates(_weights(group, config, seed)), config.confidence)
    return group.columns.assign(
        domain=group.domain,
        seen=group.seen,
        mean=clusters.mean,
        low=low,
        high=high,
        **_counts(group),
    )


def _pooled(parts: Sequence[tuple[Group, np.ndarray]], seen: bool, config: EvaluateConfig) -> pd.DataFrame:
    columns = pd.concat([group.columns for group, _ in parts], ignore_index=True).drop_duplicates(ignore_index=True)
    keys = pd.MultiIndex.from_frame(columns)
    means = np.full((len(parts), len(keys)), np.nan)
    replicates = np.full((len(parts), config.resamples, len(keys)), np.nan)
    counts = pd.DataFrame(0, index=keys, columns=_COUNTS)
    people: list[set[str]] = [set() for _ in keys]
    for place, (group, drawn) in enumerate(parts):
        own = keys.get_indexer(pd.MultiIndex.from_frame(group.columns))
        means[place, own] = group.clusters.mean
        replicates[place][:, own] = drawn
        counts.iloc[own] += pd.DataFrame(_counts(group)).to_numpy()
        for column, known in zip(own, group.clusters.counts.T > 0, strict=True):
            people[column].update(name for name, there in zip(group.names, known, strict=True) if there)
    counts["n_patients"] = [len(names) for names in people]
    defined = np.isfinite(means)
    number = defined.sum(axis=0)
    total = np.where(defined, means, 0.0).sum(axis=0)
    drawn_total = np.where(defined[:, None], replicates, 0.0).sum(axis=0)
    divisor = np.where(number > 0, number, np.nan)
    low, high = interval(drawn_total / divisor, config.confidence)
    return columns.assign(
        domain="all seen" if seen else "all unseen",
        seen=seen,
        mean=total / divisor,
        low=low,
        high=high,
        **{name: counts[name].to_numpy() for name in _COUNTS},
        n_domains=number,
    )


def _counts(group: Group) -> dict[str, np.ndarray]:
    """The last columns of the summary, for each column of the group."""
    scored = np.isfinite(group.values).sum(axis=0)
    across_units = pd.DataFrame(group.present.T).groupby([group.columns[name] for name in COLUMN if name != "unit"])
    present = across_units.transform("any").to_numpy(dtype=bool).sum(axis=1)
    undefined = group.present.sum(axis=0) - scored
    found = (scored, undefined, len(group.values) - present, group.clusters.patients)
    return dict(zip(_COUNTS, found, strict=True))


def _ordered(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows as their names come up in the frame, which is the order of the recipe; columns in the documented order."""
    order = {name: {v: i for i, v in enumerate(rows[name].unique())} for name in COLUMN}
    order["domain"] = {v: i for i, v in enumerate(rows["domain"].unique())}
    places = table[["pipeline", "domain", "region", "metric", "unit"]].apply(
        lambda column: column.map(order[str(column.name)]).fillna(-1)
    )
    places.insert(1, "seen", ~table["seen"])
    place = places.sort_values(list(places.columns), kind="stable").index
    rest = [name for name in table.columns if name not in {*COLUMN, "domain", "seen", *_MEANS, *_COUNTS}]
    return table.loc[place, [*_SUMMARY, *rest]].reset_index(drop=True)


def _unseen(frame: pd.DataFrame, metric: str | None, region: str | None) -> tuple[pd.Series, int]:
    """A metric's values on unseen domains by pipeline, domain, patient and case, seeds averaged; and its sign."""
    rows = held_out(frame)
    metric, region = _known("metric", metric, rows), _known("region", region, rows)
    chosen = rows[(rows["metric"] == metric) & (rows["region"] == region) & ~rows["seen"] & rows["value"].notna()]
    values = chosen.groupby(["pipeline", "domain", "patient", "case"], sort=False)["value"].mean()
    return values, METRICS[metric].sign


def _known(kind: str, name: str | None, rows: pd.DataFrame) -> str:
    known = [str(value) for value in rows[kind].unique()]
    if name is None:
        return known[0]
    if name not in known:
        raise UnknownName(kind, name, known, where="scores")
    return name
