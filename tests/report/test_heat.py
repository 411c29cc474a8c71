"""A map over an image: nothing where it is 0, color where it is not, lighter the more there is."""

from __future__ import annotations

import numpy as np

from unshift.report.heat import MOST, STOPS, heated, ramp


def test_where_there_is_nothing_the_image_stays() -> None:
    image = np.linspace(0, 1, 12).reshape(1, 3, 4)
    found = heated(image, np.zeros((3, 4)))
    assert found.shape == (3, 3, 4) and found.dtype == np.uint8
    assert all((channel == np.round(255 * image[0])).all() for channel in found)


def test_full_heat_by_hand() -> None:
    found = heated(np.zeros((3, 1, 1)), np.ones((1, 1)))
    assert found[:, 0, 0].tolist() == [round(MOST * level) for level in STOPS[-1][1]]
    assert (heated(np.zeros((1, 1, 1)), np.full((1, 1), 7.0)) == found).all()  # beyond 1 is 1
    between = heated(np.zeros((1, 1, 1)), np.full((1, 1), 0.25))[:, 0, 0]
    middle = [MOST * 0.25 * (a + b) / 2 for a, b in zip(STOPS[0][1], STOPS[1][1], strict=True)]
    assert np.abs(between - middle).max() <= 0.5


def test_more_is_lighter_on_black() -> None:
    found = heated(np.zeros((1, 1, 50)), np.linspace(0, 1, 50)[None])
    lightness = np.array([0.21, 0.72, 0.07]) @ found[:, 0].astype(float)
    assert (np.diff(lightness) > -0.7).all() and lightness[-1] > 100
    assert ramp()[0] == (0, "rgb(128 128 128)") and ramp()[-1][0] == 100 and len({color for _, color in ramp()}) == 11
