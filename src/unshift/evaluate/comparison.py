"""Pipelines against a baseline, paired by case: difference, interval, Wilcoxon's test with Holm's correction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import PermutationMethod, wilcoxon
from statsmodels.stats.multitest import multipletests

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.bootstrap import draw, interval
from unshift.evaluate.cases import CASE, RUN, Group, groups, held_out
from unshift.evaluate.score import EvaluateConfig
from unshift.metrics.policy import METRICS

_EXACT = 50
"""Most patients for which the exact distribution is used where no two differences tie."""
_ENUMERATED = 13
"""Most patients for which all sign patterns are listed where some differences tie."""
_PAIR = [*CASE, *RUN, "region", "metric", "unit"]


def compare(frame: pd.DataFrame, *, baseline: str, config: EvaluateConfig | None = None, seed: int = 0) -> pd.DataFrame:
    """Every other pipeline minus ``baseline`` on the same cases, folds and seeds.

    Differences are taken for each case, fold and seed, averaged per case, and then resampled by patient. The test is
    Wilcoxon's signed-rank test (two-sided) on the mean difference of each patient. Holm's correction is over all rows
    of one metric: pipelines × domains (seen and unseen) × regions. The first metric of the frame is the primary
    one; p values of the others are exploratory.

    Args:
        frame: rows of :class:`unshift.sample.Score`.
        baseline: name of a pipeline.
        config: number of resamples and confidence.
        seed: of the bootstrap.

    Returns:
        Columns pipeline, baseline, domain, seen, region, metric, unit, difference, low, high, p, p_holm, n (pairs),
        n_patients, n_undefined (pairs with an undefined value), wins, ties, losses (cases in which the pipeline is
        better, equal, worse). A positive difference is better only where higher is better. No row without other
        pipelines.

    Raises:
        UnknownName: no pipeline of that name.
        ProtocolError: a case, fold or seed is there for one pipeline and not for the baseline; all are counted, some
            named.
    """
    config, rows = config or EvaluateConfig(), held_out(frame)
    pairs = differences(rows, baseline)
    found = [row for group in groups(pairs) for row in _compared(group, config, seed)]
    names = ["pipeline", "domain", "seen", "region", "metric", "unit", "difference", "low", "high", "p"]
    names += ["n", "n_patients", "n_undefined", "wins", "ties", "losses"]
    table = pd.DataFrame(found, columns=names)
    table.insert(1, "baseline", baseline)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table))
    table.attrs["caption"] = (
        f"Pipeline minus {baseline}, paired by case; [{config.confidence:.0%} interval: percentile bootstrap of "
        f"patients, {config.resamples} resamples]; p: Wilcoxon signed-rank test on patients, Holm's correction over "
        f"all pipelines, domains and regions of a metric; the primary metric is {rows['metric'].iloc[0]}."
    )
    return _ordered(table, rows)


def differences(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Long-form rows whose ``value`` is pipeline minus baseline; NaN where either is undefined.

    Raises:
        UnknownName, ProtocolError: as :func:`compare`.
    """
    known = rows["pipeline"].unique()
    if baseline not in known:
        raise UnknownName("pipeline", baseline, known, where="baseline")
    reference = rows[rows["pipeline"] == baseline].set_index(_PAIR)["value"]
    parts = []
    for pipeline in (name for name in known if name != baseline):
        part = rows[rows["pipeline"] == pipeline].set_index(_PAIR)["value"]
        _same_cases(part.index, reference.index, pipeline, baseline)
        parts.append((part - reference.reindex(part.index)).reset_index().assign(pipeline=pipeline))
    return pd.concat(parts, ignore_index=True) if parts else rows.iloc[:0]


def holm(table: pd.DataFrame) -> Float[np.ndarray, " row"]:
    """Holm's step-down adjustment of column ``p`` within each metric; undefined p values are no tests."""
    adjusted = np.full(len(table), np.nan)
    for metric in table["metric"].unique():
        family = np.flatnonzero((table["metric"] == metric) & table["p"].notna())
        if len(family):
            adjusted[family] = multipletests(table["p"].to_numpy(dtype=float)[family], method="holm")[1]
    return adjusted


def least_p(patients: int) -> float:
    """The smallest two-sided p value that the signed-rank test can give: all differences on one side, 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - patients))


def least_adjusted(table: pd.DataFrame) -> Float[np.ndarray, " row"]:
    """No adjusted p value of a row can be smaller than this, whatever the differences; NaN where nothing was tested.

    Of the tests of a metric, those with more patients may come first in Holm's order; the first of the others has
    their number as its factor, so that ``p_holm`` is at least (tests of no more patients) × 2^(1 − patients). That a
    value is below the level is necessary for a clear difference and not sufficient: patients whose difference is 0
    (images that a gate left alone) do not count in the test.

    Args:
        table: columns metric, p_holm and n_patients of :func:`compare`.
    """
    least = np.full(len(table), np.nan)
    patients, tested = table["n_patients"].to_numpy(dtype=int), table["p_holm"].notna().to_numpy()
    for metric in table["metric"].unique():
        family = np.flatnonzero((table["metric"] == metric).to_numpy() & tested)
        for row in family:
            others = int((patients[family] <= patients[row]).sum())
            least[row] = min(1.0, others * least_p(int(patients[row])))
    return least


def few_patients(table: pd.DataFrame, *, confidence: float = 0.95) -> str:
    """:func:`too_few` of a table of :func:`compare` with one metric: its scored patients and its defined p values."""
    if table.empty:
        return ""
    tests = int(table["p_holm"].notna().sum())
    return too_few(int(table["n_patients"].max()), tests, confidence=confidence)


def too_few(patients: int, tests: int, *, confidence: float = 0.95) -> str:
    """What a comparison of so few patients cannot say; empty where there are enough.

    Args:
        patients: that differences were taken of.
        tests: among which Holm's correction shares the level; the smallest p value is multiplied by their number.
        confidence: of the intervals; its complement is the level.
    """
    least = min(1.0, tests * least_p(patients))
    if tests == 0 or least <= 1 - confidence:
        return ""
    return (
        f"{patients} patients are too few for a test: the smallest p value that the signed-rank test can give is "
        f"{least_p(patients):.3f}, after Holm's correction for {tests} comparisons {least:.3f}, whatever the "
        f"differences; so no p value is shown. The intervals resample the same {patients} patients, and of so few they "
        "come out too narrow: one that excludes 0 is a hint, no proof."
    )


def signed_rank(differences: Float[np.ndarray, " patient"]) -> float:
    """Two-sided p value of Wilcoxon's signed-rank test; zero differences are left out, and all-zero gives 1.

    The distribution is exact for up to 50 patients without ties and up to 13 with ties, else normal.
    """
    moved = differences[differences != 0]
    if len(differences) == 0:
        return float("nan")
    if len(moved) == 0:
        return 1.0
    tied = len(np.unique(np.abs(moved))) < len(moved)
    method: str | PermutationMethod = "exact" if not tied and len(moved) <= _EXACT else "asymptotic"
    if tied and len(moved) <= _ENUMERATED:
        method = PermutationMethod(n_resamples=2 ** len(moved))
    return float(wilcoxon(moved, method=method).pvalue)


def _same_cases(own: pd.MultiIndex, reference: pd.MultiIndex, pipeline: str, baseline: str) -> None:
    alone = [(baseline, key) for key in own.difference(reference)] + [
        (pipeline, key) for key in reference.difference(own)
    ]
    if not alone:
        return
    places = dict.fromkeys(
        f"{lacking}: {key[0]}/{key[3]} (fold {key[4]!r}, seed {key[5]}, {key[6]}, {key[7]} in {key[8]})"
        for lacking, key in alone
    )
    listed = "; ".join([*places][:10]) + (" …" if len(places) > 10 else "")
    raise ProtocolError(
        f"Comparison of {pipeline!r} with {baseline!r}: {len(places)} score(s) have no partner; both must be scored on "
        f"the same cases, folds and seeds. Missing: {listed}. Score them."
    )


def _compared(group: Group, config: EvaluateConfig, seed: int) -> Iterator[tuple[object, ...]]:
    clusters = group.clusters
    weights = draw(len(group.names), config.resamples, seed, group.domain, str(group.seen))
    low, high = interval(clusters.replicates(weights), config.confidence)
    for place, (pipeline, region, metric, unit) in enumerate(group.columns.itertuples(index=False)):
        # Rounding makes a difference that is 0 but for the order of additions a tie.
        values, defined = np.round(group.values[:, place], 12), clusters.counts[:, place] > 0
        better = METRICS[metric].sign * values
        by_patient = np.round(clusters.sums[defined, place] / clusters.counts[defined, place], 12)
        number = int(np.isfinite(values).sum())
        yield (
            *(pipeline, group.domain, group.seen, region, metric, unit),
            *(clusters.mean[place], low[place], high[place], signed_rank(by_patient)),
            *(number, int(defined.sum()), int(group.present[:, place].sum()) - number),
            *(int((better > 0).sum()), int((better == 0).sum()), int((better < 0).sum())),
        )


def _ordered(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["pipeline", "domain", "region", "metric"]
    places = pd.DataFrame({k: table[k].map({v: i for i, v in enumerate(rows[k].unique())}) for k in keys})
    places.insert(1, "seen", ~table["seen"].astype(bool))
    return table.loc[places.sort_values(list(places.columns), kind="stable").index].reset_index(drop=True)
