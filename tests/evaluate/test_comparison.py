"""Paired differences and tests against SciPy, enumeration and statements written out."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.comparison import compare, few_patients, holm, least_adjusted, least_p, signed_rank, too_few
from unshift.evaluate.protocol import UPPER_BOUND
from unshift.evaluate.score import EvaluateConfig, to_frame

MEANS = {(p, d): m for p, m in (("base", 0.6), ("new", 0.7), ("old", 0.6)) for d in "ABC"}
FAST = EvaluateConfig(resamples=200)


def enumerated(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test by listing every pattern of signs."""
    ranks = stats.rankdata(np.abs(differences))
    observed = abs(ranks[differences > 0].sum() - ranks.sum() / 2)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean([abs(s - ranks.sum() / 2) >= observed - 1e-9 for s in sums]))


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
def test_small_samples_are_exact_with_and_without_ties(values: list[int]) -> None:
    assert signed_rank(np.array(values, dtype=float)) == pytest.approx(enumerated(np.array(values, dtype=float)))


def test_large_samples_equal_scipy() -> None:
    values = np.random.default_rng(0).normal(0.2, size=200)
    assert signed_rank(values) == pytest.approx(stats.wilcoxon(values).pvalue)
    tied = np.round(values, 1)
    expected = stats.wilcoxon(tied[tied != 0], method="asymptotic").pvalue
    assert signed_rank(tied) == pytest.approx(expected)


def test_nothing_moved_is_no_evidence() -> None:
    assert signed_rank(np.zeros(30)) == 1.0
    assert signed_rank(np.array([0.3])) == 1.0
    assert np.isnan(signed_rank(np.array([])))


def test_holm_by_hand() -> None:
    table = pd.DataFrame({"metric": ["dice"] * 4 + ["hd"], "p": [0.01, 0.04, 0.03, np.nan, 0.04]})
    assert holm(table) == pytest.approx([0.03, 0.06, 0.06, np.nan, 0.04], nan_ok=True)


def test_by_hand(table) -> None:
    frame = table(MEANS)
    found = compare(frame, baseline="base", config=FAST).set_index(["pipeline", "domain"])
    assert len(found) == 6
    values = frame.set_index(["pipeline", "domain", "patient", "case"])["value"]
    for (pipeline, domain), row in found.iterrows():
        differences = values[pipeline, domain] - values["base", domain]
        assert row["difference"] == pytest.approx(differences.mean())
        assert (row["n"], row["n_patients"]) == (len(differences), 8)
        assert (row["wins"], row["losses"], row["ties"]) == ((differences > 0).sum(), (differences < 0).sum(), 0)
        per_patient = differences.groupby("patient").mean()
        assert row["p"] == pytest.approx(stats.wilcoxon(per_patient, method="exact").pvalue)
        assert row["low"] < row["difference"] < row["high"]
    expected = np.minimum(1, np.sort(found["p"])[0] * 6)
    assert found["p_holm"].min() == pytest.approx(expected)


def test_the_interval_is_that_of_the_difference(table) -> None:
    frame = table(MEANS)
    shifted = frame[frame["pipeline"] == "base"].assign(pipeline="plus", value=lambda f: f["value"] + 0.1)
    found = compare(pd.concat([frame, shifted]), baseline="base", config=FAST).set_index("pipeline").loc["plus"]
    assert np.allclose(found[["difference", "low", "high"]].astype(float), 0.1)  # pairing removes all variation


def test_lower_is_better_for_distances(row) -> None:
    hd = {"metric": "hd95", "unit": "mm"}
    rows = [row("base", "B", f"c{i}", 5.0, **hd) for i in range(4)]
    rows += [row("new", "B", f"c{i}", v, **hd) for i, v in enumerate((4.0, 4.0, 5.0, 6.0))]
    (found,) = compare(to_frame(rows), baseline="base").itertuples()
    assert found.difference == pytest.approx(-0.25)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)


def test_seeds_are_paired_then_averaged(row) -> None:
    rows = []
    for case in range(3):
        for seed, (base, new) in enumerate(((0.5, 0.6), (0.9, 0.8), (np.nan, 0.1))):
            rows += [row("base", "B", f"c{case}", base, seed=seed), row("new", "B", f"c{case}", new, seed=seed)]
    (found,) = compare(to_frame(rows), baseline="base").itertuples()
    assert found.difference == 0.0
    assert (found.ties, found.p, found.n) == (3, 1.0, 3)


def test_undefined_pairs_are_counted(row) -> None:
    values = {"base": (0.5, np.nan, 0.5), "new": (0.6, 0.7, np.nan)}
    rows = [row(p, "B", f"c{i}", v) for p, found in values.items() for i, v in enumerate(found)]
    (found,) = compare(to_frame(rows), baseline="base").itertuples()
    assert (found.n, found.n_undefined, found.n_patients) == (1, 2, 1)
    assert np.isnan(found.low)


@pytest.mark.parametrize("lacking", ["base", "new"])
def test_a_score_without_its_partner_is_an_error(row, lacking: str) -> None:
    rows = [row(p, "B", f"c{i}", 0.5) for p in ("base", "new") for i in range(3) if (p, i) != (lacking, 1)]
    with pytest.raises(
        ProtocolError, match=rf"1 score\(s\) have no partner.*Missing: {lacking}: B/c1 \(fold 'f', seed 0"
    ):
        compare(to_frame(rows), baseline="base")


def test_upper_bound_folds_are_not_compared(row) -> None:
    rows = [row(p, "B", f"c{i}", 0.5) for p in ("base", "new") for i in range(3)]
    rows.append(row("base", "B", "c0", 0.9, fold=UPPER_BOUND + "B", seen=True))
    assert compare(to_frame(rows), baseline="base")["difference"].tolist() == [0.0]


def test_one_pipeline_gives_an_empty_table_with_all_columns(row) -> None:
    found = compare(to_frame([row("base", "B", "x", 0.5)]), baseline="base")
    assert found.empty
    assert {"pipeline", "baseline", "difference", "p_holm", "n", "wins"} <= set(found.columns)


def test_an_unknown_baseline(row) -> None:
    with pytest.raises(UnknownName, match="baseline: unknown pipeline 'bas'. Did you mean 'base'"):
        compare(to_frame([row("base", "B", "x", 0.5)]), baseline="bas")


def test_the_caption_names_the_family_and_the_primary_metric(table) -> None:
    caption = compare(table(MEANS), baseline="base", config=FAST).attrs["caption"]
    for words in ("Holm", "pipelines, domains and regions", "primary metric is dice", "Wilcoxon", "patients"):
        assert words in caption


def test_the_order_of_rows_changes_no_number(table) -> None:
    frame = table(MEANS)
    by = ["pipeline", "domain"]
    pair = (compare(f, baseline="base", config=FAST).sort_values(by, ignore_index=True) for f in (frame, frame[::-1]))
    pd.testing.assert_frame_equal(*pair)


def test_under_no_effect_p_is_uniform_enough(row) -> None:
    rng, small, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        small += signed_rank(rng.standard_normal(20)) < 0.05
    assert 0.02 < small / trials < 0.08


@pytest.mark.parametrize("patients", range(1, 12))
def test_the_least_p_is_that_of_differences_on_one_side(patients: int) -> None:
    assert least_p(patients) == pytest.approx(signed_rank(np.arange(1.0, patients + 1)))


def test_of_how_few_patients_nothing_is_tested() -> None:
    assert "0.031, after Holm's correction for 8 comparisons 0.250" in too_few(6, 8)
    assert too_few(6, 1) == ""
    assert too_few(8, 6) == ""  # 6 × 2 / 256 = 0.047
    assert "0.055" in too_few(8, 7)
    assert too_few(2, 0) == ""
    assert too_few(6, 2, confidence=0.9) == ""


def test_least_adjusted_by_hand() -> None:
    """Three tests of 7 patients after one of 20: 3 / 64; the one of 20 patients comes first or last: 1 … 4 × 2^-19."""
    patients, tested = [7, 7, 20, 7, 7, 3], [0.5, 0.5, 0.5, 0.5, np.nan, 0.5]
    table = pd.DataFrame({"metric": ["dice"] * 5 + ["hd"], "n_patients": patients, "p_holm": tested})
    expected = [3 / 64, 3 / 64, 4 * 2.0**-19, 3 / 64, np.nan, 1 / 4]
    assert least_adjusted(table) == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 40)), min_size=1, max_size=7))
def test_no_adjusted_p_is_below_the_least(rows: list[tuple[int, int]]) -> None:
    """Any p values that the test can give, multiples of 2^(1-n), with Holm's correction."""
    p = [min(1.0, times * least_p(n)) for n, times in rows]
    table = pd.DataFrame({"metric": "dice", "p": p, "n_patients": [n for n, _ in rows]})
    table["p_holm"] = holm(table)
    assert (table["p_holm"] >= least_adjusted(table) - 1e-12).all()


def test_few_patients_counts_defined_tests_and_scored_patients() -> None:
    table = pd.DataFrame({"p_holm": [0.5, np.nan, 0.5], "n_patients": [6, 0, 5]})
    assert few_patients(table) == too_few(6, 2) != ""
    assert few_patients(table.iloc[:0]) == ""
