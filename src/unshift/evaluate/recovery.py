"""Gap recovery: how much of what the shift took a method gives back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.bootstrap import draw, interval
from unshift.evaluate.cases import Group, checked, groups, is_upper_bound
from unshift.evaluate.score import EvaluateConfig
from unshift.metrics.policy import METRICS

_ROLES = ("method", "source", "target")
_ROLE = ["region", "metric", "unit", "role"]


def gap_recovery(
    frame: pd.DataFrame, *, baseline: str, upper: str | None = None, config: EvaluateConfig | None = None, seed: int = 0
) -> pd.DataFrame:
    """``(method - source-only) / (trained-on-target - source-only)`` of each other pipeline on each unseen domain.

    1 is as good as training on the target itself, 0 as bad as doing nothing; below 0 the method harms. All three
    are taken on the same cases: those that the upper-bound fold tests and on which all three are defined. The interval
    resamples patients for numerator and denominator together.

    The ratio is undefined, and ``note`` says so, where there is no gap to recover: the gap's own interval holds 0 or
    lies on the wrong side.

    Args:
        frame: rows of :class:`unshift.sample.Score`, with rows of upper-bound folds.
        baseline: the source-only pipeline.
        upper: the pipeline whose upper-bound folds count; default: the baseline's.
        config: number of resamples and confidence.
        seed: of the bootstrap.

    Returns:
        Columns pipeline, domain, region, metric, unit, recovery, low, high, gap, n, n_patients, note.

    Raises:
        UnknownName: no such pipeline.
        ProtocolError: there are no upper-bound rows of ``upper``; a case of theirs has no score of a pipeline.
    """
    config, rows = config or EvaluateConfig(), checked(frame)
    upper = upper or baseline
    for name in (baseline, upper):
        if name not in set(rows["pipeline"]):
            raise UnknownName("pipeline", name, rows["pipeline"].unique(), where="gap recovery")
    bound = rows[is_upper_bound(rows) & (rows["pipeline"] == upper)]
    if bound.empty:
        raise ProtocolError(
            f"Gap recovery: pipeline {upper!r} has no scores of an upper-bound fold; a model trained on the target is "
            "required. Set protocol.upper_bound: true."
        )
    unseen = rows[~is_upper_bound(rows) & ~rows["seen"]]
    found = []
    for pipeline in (name for name in unseen["pipeline"].unique() if name != baseline):
        parts = {"method": unseen[unseen["pipeline"] == pipeline], "source": unseen[unseen["pipeline"] == baseline]}
        joint = _joint(parts | {"target": bound.assign(seen=False)}, pipeline)
        found += [row for group in groups(joint, _ROLE) for row in _recovered(group, pipeline, config, seed)]
    names = ["pipeline", "domain", "region", "metric", "unit", "recovery", "low", "high", "gap", "n", "n_patients"]
    return pd.DataFrame(found, columns=[*names, "note"])


def _joint(parts: dict[str, pd.DataFrame], pipeline: str) -> pd.DataFrame:
    """Rows of the three roles on the cases of the upper-bound fold."""
    key = ["domain", "patient", "case", "region", "metric", "unit"]
    wanted = pd.MultiIndex.from_frame(parts["target"][key].drop_duplicates())
    chosen = []
    for role, part in parts.items():
        own = pd.MultiIndex.from_frame(part[key])
        missing = wanted.difference(own)
        if len(missing):
            listed = ", ".join(dict.fromkeys(f"{k[0]}/{k[2]}" for k in missing[:10]))
            raise ProtocolError(
                f"Gap recovery of {pipeline!r}: {len(missing)} score(s) of the role {role!r} are missing: {listed}. "
                "All three models must be scored on the upper-bound fold's test cases. Score them."
            )
        chosen.append(part[own.isin(wanted)].assign(role=role))
    return pd.concat(chosen, ignore_index=True)


def _recovered(group: Group, pipeline: str, config: EvaluateConfig, seed: int) -> Iterator[tuple[object, ...]]:
    weights = draw(len(group.names), config.resamples, seed, group.domain, str(group.seen))
    for (region, metric, unit), own in group.columns.groupby(_ROLE[:3], sort=False, observed=True):
        method, source, target = (group.values[:, own.index[own["role"] == role][0]] for role in _ROLES)
        gains = METRICS[metric].sign * np.stack([method - source, target - source], axis=1)
        gains[~np.isfinite(gains).all(axis=1)] = np.nan
        clusters = group.clusters_of(gains)
        found = _ratio(clusters.mean, clusters.replicates(weights), config)
        gap = METRICS[metric].sign * clusters.mean[1]
        number, patients = int(np.isfinite(gains[:, 0]).sum()), int(clusters.patients[0])
        yield (pipeline, group.domain, region, metric, unit, *found[:3], gap, number, patients, found[3])


def _ratio(
    means: Float[np.ndarray, " 2"], replicates: Float[np.ndarray, "replicate 2"], config: EvaluateConfig
) -> tuple[float, float, float, str]:
    """Recovery with its interval and a note; the few replicates without a gap are left out."""
    low, high = (float(bound[1]) for bound in interval(replicates, config.confidence))
    if not low > 0:
        known = "is unknown: fewer than two patients" if np.isnan(low) else f"has the interval [{low:.4g}, {high:.4g}]"
        return (np.nan, np.nan, np.nan, f"undefined: no gap was shown; the gain from training on the target {known}")
    shown = replicates[:, 1] > 0
    ratios = replicates[shown, 0] / replicates[shown, 1]
    bounds = interval(ratios[:, None], config.confidence)
    return float(means[0] / means[1]), float(bounds[0][0]), float(bounds[1][0]), ""
