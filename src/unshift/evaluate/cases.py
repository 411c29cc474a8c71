"""Long-form scores as arrays of cases by columns: what every table is made of.

Several training seeds, and several folds that test the same case, give one case several values; they are averaged per
case before anything else, because they are repeated measurements of one case and not further cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from unshift.errors import DataError, ProtocolError
from unshift.evaluate.bootstrap import Clusters
from unshift.evaluate.fold import UPPER_BOUND

GROUP = ["domain", "seen"]
CASE = ["domain", "seen", "patient", "case"]
RUN = ["fold", "seed"]
COLUMN = ["pipeline", "region", "metric", "unit"]


@dataclass(frozen=True)
class Group:
    """The cases of one domain, seen or unseen.

    Args:
        values: by case; a column for each entry of ``columns``; NaN where undefined or missing.
        present: whether any row exists for the case and column.
        columns: pipeline, region, metric, unit (and whatever else the caller unstacked) of each column.
        patients: number of each case's patient.
        names: of the patients.
    """

    domain: str
    seen: bool
    values: Float[np.ndarray, "case column"]
    present: np.ndarray
    columns: pd.DataFrame
    patients: Int[np.ndarray, " case"]
    names: tuple[str, ...]

    @property
    def clusters(self) -> Clusters:
        """Values by patient."""
        return self.clusters_of(self.values)

    def clusters_of(self, values: Float[np.ndarray, "case column"]) -> Clusters:
        """Other values of the same cases, by patient."""
        return Clusters.of(values, self.patients, len(self.names))


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without a doubt in it: columns there, no row twice, a domain's name carrying its dataset if needed.

    Raises:
        DataError: a column is missing, or there is no row.
        ProtocolError: one pipeline has two values for the same fold, seed, case, region and metric.
    """
    needed = ["dataset", *CASE, *RUN, *COLUMN, "value"]
    missing = [name for name in needed if name not in frame.columns]
    if missing or frame.empty:
        what = f"columns {', '.join(missing)} are missing" if missing else "there is no row"
        raise DataError(f"Scores: {what}; a table needs {', '.join(needed)}. Give the scores of a run.")
    if frame["dataset"].nunique() > 1:
        frame = frame.assign(domain=frame["dataset"] + "/" + frame["domain"])
    twice = frame.duplicated([*CASE, *RUN, *(name for name in COLUMN if name != "unit")])
    if twice.any():
        row = frame[twice].iloc[0]
        raise ProtocolError(
            f"Scores: pipeline {row['pipeline']!r} has two values of {row['metric']} for {row['domain']}/{row['case']} "
            f"(fold {row['fold']!r}, seed {row['seed']}); one is required. Give different runs' pipelines different "
            "names."
        )
    return frame


def by_domain(frame: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """The rows of each domain together, in ``order``; within a domain, and of others, which stand last, as they were.

    Tables have the order in which names come up in the frame.
    """
    places = {name: place for place, name in enumerate(order)}
    return frame.sort_values("domain", key=lambda names: names.map(places), kind="stable", ignore_index=True)


def is_upper_bound(frame: pd.DataFrame) -> pd.Series:
    """Rows of folds that trained on the domain that they test."""
    return frame["fold"].str.startswith(UPPER_BOUND)


def held_out(frame: pd.DataFrame) -> pd.DataFrame:
    """Checked rows without those of upper-bound folds.

    Raises:
        DataError, ProtocolError: as :func:`checked`; no row is left.
    """
    frame = checked(frame)
    rows = frame[~is_upper_bound(frame)]
    if rows.empty:
        raise DataError("Scores: all rows are of upper-bound folds; a table needs rows of held-out folds. Score those.")
    return rows


def groups(frame: pd.DataFrame, columns: list[str] = COLUMN) -> Iterator[Group]:
    """Each (domain, seen) with its cases averaged over folds and seeds; sorted, whatever the order of rows."""
    averaged = frame.groupby([*CASE, *columns], sort=True, observed=True)["value"].mean()
    for (domain, seen), part in averaged.groupby(level=GROUP, sort=True, observed=True):
        inner = part.droplevel(GROUP)
        table = inner.unstack(columns)
        present = inner.isna().astype(float).unstack(columns).notna()
        codes, names = pd.factorize(table.index.get_level_values("patient"), sort=True)
        yield Group(
            domain=str(domain),
            seen=bool(seen),
            values=table.to_numpy(dtype=float),
            present=present.to_numpy(),
            columns=table.columns.to_frame(index=False),
            patients=codes,
            names=tuple(map(str, names)),
        )
