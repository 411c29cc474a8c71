"""Overlap metrics against hand arithmetic, scikit-learn's formulas written out, and MedPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from medpy.metric import binary as medpy

from unshift.metrics.overlap import Overlap, dice, jaccard, overlap, precision, recall

PAIRS = array_shapes(min_dims=1, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


def test_by_hand() -> None:
    prediction = torch.tensor([[True, True, True], [False, False, True]])
    reference = torch.tensor([[True, True, False], [True, False, False]])
    counts = overlap(prediction, reference)
    assert counts == Overlap(both=2, prediction=4, reference=3)
    assert dice(counts) == pytest.approx(4 / 7)
    assert jaccard(counts) == pytest.approx(2 / 5)
    assert precision(counts) == pytest.approx(2 / 4)
    assert recall(counts) == pytest.approx(2 / 3)


@given(PAIRS)
def test_equal_to_medpy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts = overlap(*pair)
    if counts.prediction and counts.reference:
        assert dice(counts) == pytest.approx(medpy.dc(*pair))
        assert jaccard(counts) == pytest.approx(medpy.jc(*pair))
        assert precision(counts) == pytest.approx(medpy.precision(*pair))
        assert recall(counts) == pytest.approx(medpy.recall(*pair))


@given(PAIRS)
def test_properties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts, swapped = overlap(*pair), overlap(*pair[::-1])
    if counts.prediction + counts.reference:
        assert 0 <= dice(counts) <= 1
        assert dice(counts) == dice(swapped)
        assert jaccard(counts) == pytest.approx(dice(counts) / (2 - dice(counts)))
    if counts.prediction:
        assert precision(counts) == recall(swapped)


def test_zero_by_zero_is_nan() -> None:
    nothing = Overlap(0, 0, 0)
    assert all(math.isnan(metric(nothing)) for metric in (dice, jaccard, precision, recall))
