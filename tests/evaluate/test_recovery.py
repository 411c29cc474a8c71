"""Gap recovery by hand, by loops, and where there is no gap."""

from __future__ import annotations

import numpy as np
import pytest

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.bootstrap import draw
from unshift.evaluate.protocol import UPPER_BOUND
from unshift.evaluate.recovery import gap_recovery
from unshift.evaluate.score import EvaluateConfig, to_frame

FAST = EvaluateConfig(resamples=300)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.02, (3, 12))
SOURCE, METHOD, TARGET = 0.5 + NOISE[0], 0.65 + NOISE[1], 0.8 + NOISE[2]


def frame(row, source=SOURCE, method=METHOD, target=TARGET, **changes):
    rows = []
    for case, values in enumerate(zip(source, method, target, strict=True)):
        for pipeline, value in zip(("base", "new"), values[:2], strict=True):
            rows.append(row(pipeline, "B", f"c{case:02}", value, **changes))
        if case >= 4:  # the upper bound is tested on its held-out patients only
            rows.append(row("base", "B", f"c{case:02}", values[2], fold=UPPER_BOUND + "B", seen=True, **changes))
    return to_frame(rows)


def test_by_hand_on_the_shared_cases(row) -> None:
    (found,) = gap_recovery(frame(row), baseline="base", config=FAST).itertuples()
    gain, gap = (METHOD - SOURCE)[4:], (TARGET - SOURCE)[4:]
    assert found.recovery == pytest.approx(gain.mean() / gap.mean())
    assert found.gap == pytest.approx(gap.mean())
    assert (found.pipeline, found.domain, found.n, found.n_patients, found.note) == ("new", "B", 8, 8, "")
    weights = draw(8, 300, 0, "B", "False")
    expected = np.percentile([(w @ gain) / (w @ gap) for w in weights], [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_the_ends_of_the_scale(row) -> None:
    for method, expected in ((SOURCE, 0.0), (TARGET, 1.0)):
        (found,) = gap_recovery(frame(row, method=method), baseline="base", config=FAST).itertuples()
        assert (found.recovery, found.low, found.high) == pytest.approx((expected,) * 3)


def test_distances_fall(row) -> None:
    scores = frame(row, source=10 + NOISE[0], method=7 + NOISE[1], target=4 + NOISE[2], metric="hd95", unit="mm")
    (found,) = gap_recovery(scores, baseline="base", config=FAST).itertuples()
    assert found.recovery == pytest.approx(0.5, abs=0.02)
    assert found.gap == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("target", [SOURCE + np.resize([0.1, -0.1], 12), SOURCE - 0.1 + NOISE[2]])
def test_no_gap_no_ratio(row, target: np.ndarray) -> None:
    (found,) = gap_recovery(frame(row, target=target), baseline="base", config=FAST).itertuples()
    assert np.isnan([found.recovery, found.low, found.high]).all()
    assert found.note.startswith("undefined: no gap was shown")


def test_undefined_values_leave_all_three(row) -> None:
    method = METHOD.copy()
    method[5] = np.nan
    (found,) = gap_recovery(frame(row, method=method), baseline="base", config=FAST).itertuples()
    kept = [4, *range(6, 12)]
    assert found.recovery == pytest.approx((METHOD - SOURCE)[kept].mean() / (TARGET - SOURCE)[kept].mean())
    assert found.n == 7


def test_what_is_missing_is_said(row) -> None:
    scores = frame(row)
    with pytest.raises(ProtocolError, match="pipeline 'base' has no scores of an upper-bound fold"):
        gap_recovery(scores[~scores["fold"].str.startswith(UPPER_BOUND)], baseline="base")
    with pytest.raises(ProtocolError, match=r"1 score\(s\) of the role 'method' are missing: B/c07"):
        gap_recovery(scores[(scores["pipeline"] != "new") | (scores["case"] != "c07")], baseline="base")
    with pytest.raises(UnknownName, match="gap recovery: unknown pipeline 'bose'"):
        gap_recovery(scores, baseline="bose")
