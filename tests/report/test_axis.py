from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.report.axis import Axis, axis_over


def test_places_are_percent_from_the_left_and_stay_inside() -> None:
    axis = Axis(-10, 30, (-10, 0, 10, 20, 30))
    assert [axis.place(v) for v in (-10, 0, 10, 30, 99, -99)] == [0, 25, 50, 100, 100, 0]


def test_ticks_are_round() -> None:
    assert axis_over([-12, 23]).ticks == (-20, -10, 0, 10, 20, 30)
    assert axis_over([0.1, 0.9], include=0.0).ticks == (0, 0.2, 0.4, 0.6, 0.8, 1.0)


@given(st.lists(st.floats(-1e4, 1e4).map(lambda v: round(v, 3)), min_size=1, max_size=8))
def test_an_axis_holds_its_values_and_zero(values: list[float]) -> None:
    axis = axis_over(values, include=0.0)
    slack = 1e-9 * (axis.high - axis.low)
    assert axis.low - slack <= min([*values, 0])
    assert axis.high + slack >= max([*values, 0])
    assert axis.ticks[0] == pytest.approx(axis.low)
    assert axis.ticks[-1] == pytest.approx(axis.high)
    assert 2 <= len(axis.ticks) <= 8


def test_values_that_hardly_differ_get_an_axis_too() -> None:
    for tiny in (0.0, 5e-324, 1e-12):
        axis = axis_over([tiny], include=0.0)
        assert (axis.low, axis.high) == (-1, 1)


def test_nothing_finite_gives_an_axis_all_the_same() -> None:
    assert axis_over([math.nan]).place(0.5) == 50
