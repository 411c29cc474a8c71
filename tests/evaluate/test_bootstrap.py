"""The clustered bootstrap against SciPy, against plain loops, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unshift.evaluate.bootstrap import Clusters, draw, interval


def clustered(rng: np.random.Generator, patients: int, *, between: float = 1.0, within: float = 0.3):
    sizes = rng.integers(1, 6, patients)
    codes = np.repeat(np.arange(patients), sizes)
    effects = between * rng.standard_normal(patients)
    return effects[codes] + within * rng.standard_normal(len(codes)), codes


def bounds(values: np.ndarray, codes: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    number = int(codes.max()) + 1
    weights = draw(number, resamples, seed, "test")
    low, high = interval(Clusters.of(values[:, None], codes, number).replicates(weights), 0.95)
    return float(low[0]), float(high[0])


def test_replicates_equal_plain_loops() -> None:
    values, codes = clustered(np.random.default_rng(0), 7)
    values[3] = np.nan
    weights = draw(7, 50, 0, "x")
    found = Clusters.of(values[:, None], codes, 7).replicates(weights)[:, 0]
    for replicate, counts in zip(found, weights, strict=True):
        drawn = [v for p, times in enumerate(counts) for _ in range(int(times)) for v in values[codes == p] if v == v]
        assert replicate == pytest.approx(np.mean(drawn))


def test_each_replicate_draws_as_many_patients_as_there_are() -> None:
    weights = draw(11, 300, 4, "x")
    np.testing.assert_array_equal(weights.sum(axis=1), 11)
    assert weights.mean() == pytest.approx(1.0)
    assert weights.std() == pytest.approx(np.sqrt(10 / 11), rel=0.1)


def test_draws_are_a_function_of_seed_and_labels() -> None:
    np.testing.assert_array_equal(draw(9, 40, 1, "a"), draw(9, 40, 1, "a"))
    assert (draw(9, 40, 1, "a") != draw(9, 40, 1, "b")).any()
    assert (draw(9, 40, 1, "a") != draw(9, 40, 2, "a")).any()


def test_without_clusters_equal_to_scipy_up_to_monte_carlo_error() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=60)
    low, high = bounds(values, np.arange(60), resamples=20000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * values.std())


def test_repeating_the_cases_of_patients_does_not_narrow_the_interval() -> None:
    values, codes = clustered(np.random.default_rng(2), 12)
    once = bounds(values, codes)
    assert bounds(np.tile(values, 5), np.tile(codes, 5)) == pytest.approx(once)
    naive = bounds(np.tile(values, 5), np.arange(5 * len(values)))
    assert naive[1] - naive[0] < 0.7 * (once[1] - once[0])


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
@settings(max_examples=25)
def test_the_interval_moves_with_the_values(seed: int, patients: int) -> None:
    values, codes = clustered(np.random.default_rng(seed), patients)
    low, high = bounds(values, codes, resamples=200)
    assert bounds(3 * values + 5, codes, resamples=200) == pytest.approx((3 * low + 5, 3 * high + 5), abs=1e-9)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12  # a mean of equal numbers is rounded


def test_one_patient_gives_no_interval() -> None:
    low, high = bounds(np.array([0.2, 0.9]), np.array([0, 0]))
    assert np.isnan([low, high]).all()


def test_undefined_values_are_left_out() -> None:
    values, codes = np.array([[0.5, np.nan], [0.7, np.nan], [np.nan, np.nan]]), np.array([0, 1, 2])
    clusters = Clusters.of(values, codes, 3)
    assert clusters.mean == pytest.approx([0.6, np.nan], nan_ok=True)
    np.testing.assert_array_equal(clusters.patients, [2, 0])
    low, high = interval(clusters.replicates(draw(3, 500, 0, "x")), 0.95)
    assert (low[0], high[0]) == pytest.approx((0.5, 0.7))  # replicates that drew the third patient only do not count
    assert np.isnan([low[1], high[1]]).all()


def test_the_interval_is_made_of_the_percentiles() -> None:
    replicates = np.arange(101.0)[:, None]
    low, high = interval(replicates, 0.9)
    assert (low[0], high[0]) == pytest.approx((5.0, 95.0))


def test_coverage_is_about_as_stated() -> None:
    """With 40 patients a percentile interval covers slightly less than 95 %; ignoring patients it covers far less."""
    rng, hits, naive_hits, trials = np.random.default_rng(3), 0, 0, 400
    for trial in range(trials):
        values, codes = clustered(rng, 40)
        low, high = bounds(values, codes, resamples=400, seed=trial)
        hits += low <= 0 <= high
        low, high = bounds(values, np.arange(len(values)), resamples=400, seed=trial)
        naive_hits += low <= 0 <= high
    assert 0.90 <= hits / trials <= 0.98
    assert naive_hits / trials < 0.85
