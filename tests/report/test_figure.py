from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from unshift.evaluate.fold import UPPER_BOUND
from unshift.report.figure import case_values, forests, measure, strips


def test_a_whisker_stands_where_its_numbers_are(full_report: Any) -> None:
    axis, found = forests(full_report)
    assert axis is not None
    assert [f.domain for f in found] == ["vendor B", "vendor C"]
    frame = full_report.comparisons
    row = frame[
        (frame["metric"] == "dice") & (frame["domain"] == "vendor B") & (frame["pipeline"] == "augmented")
    ].iloc[0]
    whisker = found[0].whiskers[0]
    width = axis.high - axis.low
    for place, column in ((whisker.middle, "difference"), (whisker.low, "low"), (whisker.high, "high")):
        assert place == pytest.approx(100 * (100 * row[column] - axis.low) / width, abs=0.01)
    assert (whisker.pipeline, whisker.effect, whisker.n, whisker.wins) == ("augmented", "better", 24, 24)
    assert axis.low < 0 < axis.high


def test_effects_are_better_worse_or_unclear(full_report: Any, make_report: Any) -> None:
    effects = {(f.domain, w.pipeline): w.effect for f in forests(full_report)[1] for w in f.whiskers}
    assert effects["vendor B", "equalized"] == "worse"
    assert effects["vendor C", "augmented"] == "better"
    unclear = make_report(comparisons=full_report.comparisons.assign(p_holm=0.2))
    assert {w.effect for f in forests(unclear)[1] for w in f.whiskers} == {"unclear"}
    distances = make_report(metric="hd95")
    effects = {(f.domain, w.pipeline): w.effect for f in forests(distances)[1] for w in f.whiskers}
    assert effects["vendor B", "augmented"] == "better"  # a smaller distance


def test_one_pipeline_has_no_forest(make_report: Any) -> None:
    report = make_report({("baseline", "vendor A"): 0.9, ("baseline", "vendor B"): 0.5})
    assert forests(report) == (None, [])
    assert [p.domain for p in strips(report)[1]] == ["vendor A", "vendor B"]


def test_every_case_is_a_dot_and_the_median_is_numpy_s(full_report: Any) -> None:
    _, panels = strips(full_report)
    frame = full_report.scores[full_report.scores["metric"] == "dice"]
    for panel in panels:
        for strip in panel.strips:
            part = frame[(frame["domain"] == panel.domain) & (frame["pipeline"] == strip.pipeline)]
            assert len(strip.dots) == len(part) == 24
            assert strip.median == pytest.approx(100 * np.median(part["value"]), abs=0.01)
            assert sorted(d.x for d in strip.dots) == pytest.approx(sorted(100 * part["value"]), abs=0.01)
            assert all(-1 <= d.y <= 1 for d in strip.dots)
            assert f"median {100 * np.median(part['value']):.1f}" in strip.alt


def test_the_jitter_is_the_same_every_time_and_spreads_ties(make_report: Any, make_scores: Any) -> None:
    scores = make_scores({("baseline", "vendor B"): 0.5}, cases=12).assign(value=0.5)
    first, second = (
        strips(make_report(scores=scores)),
        strips(make_report(scores=scores.sample(frac=1, random_state=1))),
    )
    assert first == second
    heights = sorted(d.y for d in first[1][0].strips[0].dots)
    assert min(np.diff(heights)) > 0.05


def test_undefined_scores_are_counted_not_drawn(make_report: Any, make_scores: Any) -> None:
    scores = make_scores({("baseline", "vendor B"): 0.5}, cases=5)
    dice = scores.index[scores["metric"] == "dice"]
    scores.loc[dice[:2], "value"] = np.nan
    strip = strips(make_report(scores=scores))[1][0].strips[0]
    assert len(strip.dots) == 3
    assert "3 cases, 2 undefined" in strip.alt
    scores.loc[dice, "value"] = np.nan
    strip = strips(make_report(scores=scores))[1][0].strips[0]
    assert (strip.dots, strip.median, strip.median_text) == ((), None, "–")
    assert "no case with a defined score, 5 undefined" in strip.alt


def test_seeds_of_a_case_are_averaged_and_upper_bounds_left_out(make_report: Any, make_scores: Any) -> None:
    one = make_scores({("baseline", "vendor B"): 0.5}, cases=4)
    two = one.assign(seed=1, value=one["value"] + 0.02)
    bound = one.assign(fold=f"{UPPER_BOUND}vendor B", value=0.99)
    other = one.assign(region="rim", value=one["value"] - 0.1)
    expected = one[one["metric"] == "dice"].sort_values("case")["value"] + 0.01
    report = make_report(scores=pd.concat([one, two, bound, other]), summary=make_report(scores=one).summary)
    np.testing.assert_allclose(case_values(report).sort_values("case")["value"], expected)


def test_axes_say_what_they_show(full_report: Any, make_report: Any) -> None:
    assert measure(full_report) == "Dice points"
    distances = make_report(metric="hd95")
    assert measure(distances) == "HD95 in mm"
    axis, _ = strips(distances)
    assert axis.low == 0
    assert axis.high * 1 >= distances.scores.query("metric == 'hd95'")["value"].max()
