from __future__ import annotations

import numpy as np
import pytest

from unshift.phantom.shapes import Waves, pixel_grid
from unshift.phantom.surface import bump, shaded, vessels

WHITE = np.ones((3, 32, 32), np.float32)
FLAT, DRY = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)


def test_light_falls_with_the_square_of_the_distance() -> None:
    near, far = (shaded(WHITE, FLAT, np.full((32, 32), d), wet=DRY, wetness=1.0) for d in (1.0, 2.0))
    np.testing.assert_allclose(near, 1.0)
    np.testing.assert_allclose(far, 0.25)


def test_a_slope_reflects_less_by_its_cosine() -> None:
    relief = np.broadcast_to(np.arange(32, dtype=np.float32) / 32, (32, 32))
    image = shaded(WHITE, relief, np.ones((32, 32)), wet=DRY, wetness=0.0)
    np.testing.assert_allclose(image, np.cos(np.pi / 4), rtol=1e-5)


def test_wet_places_glint() -> None:
    image = shaded(0.3 * WHITE, FLAT, np.ones((32, 32)), wet=np.full((32, 32), 3.0), wetness=0.5)
    np.testing.assert_allclose(image, 0.8, rtol=1e-5)


def test_a_bump_is_highest_in_its_middle_and_ends_on_its_outline() -> None:
    level = np.array([0.0, 0.5, 1.0, 2.0], np.float32)
    heights = bump(level, 0.2)
    assert heights[0] == pytest.approx(0.2)
    assert (np.diff(heights[:3]) < 0).all()
    assert heights[2] == heights[3] == 0


def test_vessels_are_thin_lines() -> None:
    x, y = pixel_grid(256, 256)
    net = vessels(x, y, Waves.draw(np.random.default_rng(0), 6.0, count=8), 0.07)
    assert 0.02 < np.mean(net > 0.5) < 0.12
    assert net.max() <= 1
