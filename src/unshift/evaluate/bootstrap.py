"""Percentile bootstrap that resamples patients, not images: images of one patient are no independent evidence.

A replicate draws as many patients as there are, with replacement, and takes all cases of each. The mean over cases of a
replicate is ``sum(weight · sum of the patient's values) / sum(weight · the patient's number of values)``, so a
thousand replicates are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from unshift.randomness import numpy_generator


@dataclass(frozen=True)
class Clusters:
    """Values summed by patient, NaN left out.

    Args:
        sums, counts: of defined values, for each patient and column.
    """

    sums: Float[np.ndarray, "patient column"]
    counts: Float[np.ndarray, "patient column"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "case column"], patients: Int[np.ndarray, " case"], number: int) -> Self:
        """Sum ``values`` (NaN where undefined) over the cases of each patient, numbered from 0 to ``number`` - 1."""
        member = np.zeros((number, len(values)))
        member[patients, np.arange(len(values))] = 1.0
        return cls(member @ np.nan_to_num(values), member @ np.isfinite(values).astype(float))

    @property
    def mean(self) -> Float[np.ndarray, " column"]:
        """Mean over all defined values; NaN where there are none."""
        return _ratio(self.sums.sum(axis=0), self.counts.sum(axis=0))

    @property
    def patients(self) -> Int[np.ndarray, " column"]:
        """Number of patients with at least one defined value."""
        return np.count_nonzero(self.counts, axis=0)

    def replicates(self, weights: Float[np.ndarray, "replicate patient"]) -> Float[np.ndarray, "replicate column"]:
        """The mean of each replicate; NaN where it drew no defined value, and throughout for fewer than 2 patients.

        One patient says nothing about how patients differ: an interval of width 0 would be a false claim.
        """
        means = _ratio(weights @ self.sums, weights @ self.counts)
        means[:, self.patients < 2] = np.nan
        return means


def draw(patients: int, resamples: int, seed: int, *labels: str) -> Float[np.ndarray, "replicate patient"]:
    """How often each replicate draws each patient: a function of its arguments alone, so pipelines share the draws."""
    chances = np.full(patients, 1 / patients)
    return numpy_generator(seed, "bootstrap", *labels).multinomial(patients, chances, size=resamples).astype(float)


def interval(
    replicates: Float[np.ndarray, "replicate column"], confidence: float
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """Percentile interval of each column, over its defined replicates; NaN where there are none."""
    tail = 50 * (1 - confidence)
    bounds = np.full((2, replicates.shape[1]), np.nan)
    known = np.isfinite(replicates)
    whole = known.all(axis=0)
    bounds[:, whole] = np.percentile(replicates[:, whole], [tail, 100 - tail], axis=0)
    for column in np.flatnonzero(known.any(axis=0) & ~whole):
        bounds[:, column] = np.percentile(replicates[known[:, column], column], [tail, 100 - tail])
    return bounds[0], bounds[1]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)
