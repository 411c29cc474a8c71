"""Curves over strength: positions redone by hand, and what is drawn on top."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from unshift.evaluate.choice import IN_DOMAIN
from unshift.report.invariance import AVERAGE, panels

SHIFTS = pd.DataFrame(
    [("B@0.5", "B", 0.5), ("B@1", "B", 1.0), ("C@0.5", "C", 0.5), ("C@1", "C", 1.0)],
    columns=["domain", "preset", "strength"],
)
MEANS = {"none": (0.9, 0.8, 0.5, 0.7, 0.6), "good": (0.9, 0.9, 0.8, 0.8, 0.8), "other": (0.8, 0.7, 0.7, 0.7, 0.6)}


def summary(**means: tuple[float, ...]) -> pd.DataFrame:
    places = [IN_DOMAIN, *SHIFTS["domain"]]
    rows = [
        (name, place, mean, mean - 0.05, mean + 0.05)
        for name, values in (MEANS | means).items()
        for place, mean in zip(places, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["pipeline", "domain", "mean", "low", "high"])


def test_a_panel_for_the_mean_and_each_preset_on_one_axis() -> None:
    found = panels(summary(), SHIFTS, highlighted="good")
    assert [p.preset for p in found] == [AVERAGE, "preset B", "preset C"]
    assert {(p.axis.low, p.axis.high) for p in found} == {(50, 90)}
    assert found[1].strengths == ((0.0, "0"), (50.0, "0.5"), (100.0, "1"))


def test_points_are_where_strength_and_score_say() -> None:
    average, preset, _ = panels(summary(), SHIFTS, highlighted="good")
    before = next(t for t in preset.traces if t.name == "none")
    for (x, y), (strength, mean) in zip(before.points, ((0, 90), (50, 80), (100, 50)), strict=True):
        assert (x, y) == pytest.approx((strength, 100 - 100 * (mean - 50) / 40))
    averaged = next(t for t in average.traces if t.name == "none")
    assert averaged.points[2][1] == pytest.approx(100 - 100 * (55 - 50) / 40)
    assert averaged.title == "none: 90.0 at 0, 75.0 at 0.5, 55.0 at 1"


def test_the_choice_is_drawn_last_and_has_a_band_and_others_have_none() -> None:
    preset = panels(summary(), SHIFTS, highlighted="good")[1]
    assert [(t.name, t.kind) for t in preset.traces] == [("other", "other"), ("none", "before"), ("good", "choice")]
    assert [bool(t.band) for t in preset.traces] == [False, True, True]
    assert preset.alt.startswith("preset B: none: 90.0 at 0")
    assert "other" not in preset.alt


def test_when_nothing_is_changed_the_network_as_it_is_is_the_choice() -> None:
    kinds = {t.name: t.kind for t in panels(summary(), SHIFTS, highlighted="none")[0].traces}
    assert kinds == {"none": "choice", "good": "other", "other": "other"}


def test_one_preset_needs_no_mean_and_an_undefined_score_no_point() -> None:
    only = SHIFTS[SHIFTS["preset"] == "B"]
    found = panels(summary(none=(0.9, math.nan, 0.5, 0.7, 0.6)), only, highlighted="good")
    assert [p.preset for p in found] == ["preset B"]
    before = next(t for t in found[0].traces if t.name == "none")
    assert len(before.points) == 2
