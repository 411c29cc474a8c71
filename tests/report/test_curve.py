from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from unshift.errors import DataError
from unshift.report.content import Curve, Distribution
from unshift.report.curve import curve_panels, histogram_panels

EDGES = np.linspace(0, 1, 5)
SOURCE = Distribution("A", False, "red", EDGES, np.array([2.0, 2.0, 0.0, 0.0]))
TARGET = Distribution("B", True, "red", EDGES, np.array([0.0, 2.0, 2.0, 0.0]))


def points(path: str) -> np.ndarray:
    return np.array([float(v) for v in re.findall(r"[\d.]+", path)]).reshape(-1, 2)


def test_overlap_and_means_by_hand() -> None:
    (panel,) = histogram_panels([SOURCE, TARGET])
    assert panel.overlap == 50  # one of the two full bins is shared
    assert panel.alt == "red of B: mean 0.5 against 0.25 in the source; the histograms share 50 percent of their area."
    assert (panel.low, panel.high, panel.color) == ("0", "1", "red")


def test_the_source_against_itself_overlaps_wholly() -> None:
    (panel,) = histogram_panels([SOURCE, dataclasses.replace(SOURCE, domain="B", is_target=True)])
    assert panel.overlap == 100


def test_bins_stand_at_their_centres() -> None:
    (panel,) = histogram_panels([SOURCE, TARGET])
    drawn = points(panel.target)
    np.testing.assert_allclose(drawn[:, 0], [12.5, 37.5, 62.5, 87.5])
    assert drawn[0, 1] == 100
    assert drawn[1, 1] < 10


def test_sources_are_averaged() -> None:
    other = dataclasses.replace(TARGET, domain="A2", is_target=False)
    (panel,) = histogram_panels([SOURCE, other, TARGET])
    assert panel.overlap == 75  # mean source is [1, 2, 1, 0]


def test_each_domain_left_out_has_the_others_as_its_source() -> None:
    left_out = [SOURCE, TARGET, dataclasses.replace(SOURCE, domain="C")]
    panels = histogram_panels([dataclasses.replace(d, is_target=True) for d in left_out])
    assert [(p.domain, p.overlap) for p in panels] == [("A", 75), ("B", 50), ("C", 75)]


def test_a_target_needs_a_source_with_its_bins() -> None:
    with pytest.raises(DataError, match="channel 'red' of target 'B' has no source histogram"):
        histogram_panels([TARGET])
    with pytest.raises(DataError, match="histograms of 'A' and 'B' have other bin edges"):
        histogram_panels([SOURCE, dataclasses.replace(TARGET, edges=EDGES * 2)])


def test_curves_of_one_quantity_share_a_panel() -> None:
    first = Curve("baseline", "loss", [0, 5, 10], [1.0, 0.5, 0.0])
    second = Curve("aug", "loss", [0, 10], [1.0, float("nan")])
    (panel, other) = curve_panels([first, second, Curve("aug", "dice", [10], [0.5])], names=["aug", "baseline"])
    assert [(line.name, line.color) for line in panel.lines] == [("baseline", 1), ("aug", 0)]
    np.testing.assert_allclose(points(panel.lines[0].path), [[0, 0], [50, 50], [100, 100]])
    assert panel.alt == "loss over 10 steps: baseline ends at 0; aug ends at 1."
    assert (panel.low, panel.high, panel.last_step) == ("0", "1", 10)
    assert other.quantity == "dice"


def test_a_curve_of_nothing_finite_draws_nothing() -> None:
    (panel,) = curve_panels([Curve("a", "loss", [1], [float("inf")])])
    assert panel.lines == ()
    assert "no finite value" in panel.alt


def test_a_single_point_is_drawn_as_a_dash() -> None:
    (panel,) = curve_panels([Curve("erm", "loss", [200], [0.5])], bounds=(0.0, 1.0))
    assert panel.lines[0].path == "M96.00 50.00 L100.00 50.00"
