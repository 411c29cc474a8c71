from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.report import number


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.8766, "1", "87.7"),
        (-0.0251, "1", "−2.5"),
        (-0.0004, "1", "0.0"),
        (3.14, "mm", "3.1"),
        (-3.16, "px", "−3.2"),
        (math.nan, "1", "–"),
        (1.0, "1", "100.0"),
    ],
)
def test_one_decimal_with_a_true_minus(value: float, unit: str, text: str) -> None:
    assert number.plain(value, unit) == text


@given(st.floats(-1, 1))
def test_signed_shows_the_sign_and_nothing_else(value: float) -> None:
    text, unsigned = number.signed(value, "1"), number.plain(value, "1")
    assert text.removeprefix("+") == unsigned
    assert text.startswith("+") == (unsigned != "0.0" and value > 0)
    assert "-" not in text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0009, "< 0.001"), (0.001, "0.001"), (0.0499, "0.050"), (1.0, "1.000"), (math.nan, "–")]
)
def test_p_values(p: float, text: str) -> None:
    assert number.p_value(p) == text


def test_intervals_and_lists() -> None:
    assert number.interval(-0.031, 0.0275, "1") == "−3.1 to 2.8"
    assert number.interval(math.nan, 0.1, "1") == "–"
    assert number.listing([]) == ""
    assert number.listing(["a"]) == "a"
    assert number.listing(["a", "b"]) == "a and b"
    assert number.listing(["a", "b", "c"]) == "a, b and c"


def test_names_of_metrics_and_units() -> None:
    assert number.title("dice") == "Dice"
    assert number.title("a_new_metric") == "a_new_metric"
    assert (number.unit_name("1"), number.unit_name("mm")) == ("points", "mm")
