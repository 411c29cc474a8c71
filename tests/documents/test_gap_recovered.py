"""The page of recovered gaps: shares by hand, and none where there is no gap."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pandas as pd
import pytest


def cases(rows: list[tuple[bool, str, str, float, float]]) -> pd.DataFrame:
    """(seen, domain, patient, baseline, repaired) -> the wide frame."""
    index = pd.MultiIndex.from_tuples(
        [("f", seen, domain, patient, f"c{i}", 0) for i, (seen, domain, patient, _, _) in enumerate(rows)],
        names=["fold", "seen", "domain", "patient", "case", "seed"],
    )
    return pd.DataFrame({"baseline": [r[3] for r in rows], "repaired": [r[4] for r in rows]}, index=index)


def test_shares_by_hand(script: ModuleType) -> None:
    source = [(True, "A", f"a{i}", 90.0 + i % 3, 89.0 + i % 3) for i in range(12)]
    lost = [(False, "B", f"b{i}", 50.0 + i % 5, 70.0 + i % 5) for i in range(10)]
    same = [(False, "C", f"c{i}", 91.0 + (-1) ** i, 60.0) for i in range(10)]
    found = {row["domain"]: row for row in script.of_fold("f", cases(source + lost + same), "baseline")}
    b = found["B"]
    assert b["gap"] == pytest.approx(91 - 52) and b["gain"] == pytest.approx(20) and b["cost"] == pytest.approx(1)
    assert b["recovered"] == pytest.approx(20 / 39)
    assert b["recovered_low"] < b["recovered"] < b["recovered_high"]
    assert (b["gain_low"], b["gain_high"]) == pytest.approx((20, 20))  # every case gains the same
    assert math.isnan(found["C"]["recovered"]) and found["C"]["gain"] == pytest.approx(-31)
    assert found["all unseen"]["n"] == 20


def test_all_folds_are_pooled_where_there_are_several(script: ModuleType) -> None:
    first = cases(
        [(True, "B", f"b{i}", 90.0, 90.0) for i in range(8)] + [(False, "A", f"a{i}", 50.0, 60.0) for i in range(8)]
    )
    second = cases(
        [(True, "A", f"a{i}", 80.0, 79.0) for i in range(8)] + [(False, "B", f"b{i}", 40.0, 70.0) for i in range(8)]
    )
    both = pd.concat([first, second.rename(index={"f": "g"}, level="fold")])
    assert [row["domain"] for row in script.of_folds(first, "baseline")] == ["A"]
    *_, last = script.of_folds(both, "baseline")
    assert (last["fold"], last["domain"], last["n"]) == ("all folds", "all unseen", 16)
    assert (
        last["gap"] == pytest.approx(85 - 45)
        and last["gain"] == pytest.approx(20)
        and last["cost"] == pytest.approx(0.5)
    )
    assert 10 < last["gain_low"] < 20 < last["gain_high"] < 30


def test_the_page_says_no_minus_zero_and_no_share_without_a_gap(script: ModuleType) -> None:
    assert script.points(-0.01, -0.2, 0.04) == "0.0 (−0.2 to 0.0)"
    assert script.points(3.14, 1.0, 5.0) == "+3.1 (1.0 to 5.0)"
    frame = pd.DataFrame(
        script.of_fold(
            "f",
            cases([(s, d, f"{d}{i}", 80.0, 70.0) for s, d in ((True, "A"), (False, "B")) for i in range(4)]),
            "baseline",
        )
    )
    text = script.markdown(frame, "x")
    assert "| repaired | −10.0 (−10.0 to −10.0) | – | −10.0 (−10.0 to −10.0) |" in text
    assert np.isnan(frame["recovered"]).all()
