"""Metrics of overlap: dice, jaccard, precision, recall, as functions of three voxel counts.

Nothing is smoothed: a term added to numerator and denominator (the released code of several papers adds 1) makes the
score of a small region depend on that constant. Where a ratio is 0/0 these functions give NaN; what a table shows
instead is decided in :mod:`unshift.metrics.policy` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unshift.metrics.masks import Mask, as_pair


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of two masks.

    Args:
        both: voxels in prediction and reference.
        prediction, reference: voxels of each mask.
    """

    both: int
    prediction: int
    reference: int


def overlap(prediction: Mask, reference: Mask) -> Overlap:
    """Count the voxels of two boolean masks on one grid.

    Raises:
        DataError, ShapeMismatch: as :func:`unshift.metrics.masks.as_pair`.
    """
    p, r = as_pair(prediction, reference)
    return Overlap(*(int(np.count_nonzero(mask)) for mask in (p & r, p, r)))


def dice(counts: Overlap) -> float:
    """``2 |P ∩ R| / (|P| + |R|)``, in [0, 1]; NaN when both masks are empty."""
    return _ratio(2 * counts.both, counts.prediction + counts.reference)


def jaccard(counts: Overlap) -> float:
    """``|P ∩ R| / |P ∪ R|``, in [0, 1]; NaN when both masks are empty."""
    return _ratio(counts.both, counts.prediction + counts.reference - counts.both)


def precision(counts: Overlap) -> float:
    """``|P ∩ R| / |P|``, in [0, 1]; NaN when the prediction is empty."""
    return _ratio(counts.both, counts.prediction)


def recall(counts: Overlap) -> float:
    """``|P ∩ R| / |R|``, in [0, 1]; NaN when the reference is empty."""
    return _ratio(counts.both, counts.reference)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else float("nan")
