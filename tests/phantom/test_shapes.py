from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.phantom.shapes import Ellipse, Waves, band, pixel_grid, rotate, soft, wobble


def test_pixel_grid_is_centred_and_in_heights() -> None:
    x, y = pixel_grid(4, 8)
    assert x.shape == y.shape == (4, 8)
    np.testing.assert_allclose(y[:, 0], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(x[0], (np.arange(8) - 3.5) / 4)


def test_level_is_one_on_the_outline_and_area_is_that_of_an_ellipse() -> None:
    x, y = pixel_grid(400, 400)
    shape = Ellipse((0.05, 0.45), (0.3, 0.2), 0.7)
    area = np.mean(shape.level(x, y) <= 1)
    assert area == pytest.approx(np.pi * 0.3 * 0.2, rel=0.01)


@given(st.floats(0, 2 * np.pi))
def test_distance_of_a_circle_is_exact(turn: float) -> None:
    circle = Ellipse((0.1, 0.5), (0.2, 0.2), 0.3)
    for radius in (0.1, 0.2, 0.35):
        x = np.array([0.1 + radius * np.cos(turn)], dtype=np.float32)
        y = np.array([0.5 + radius * np.sin(turn)], dtype=np.float32)
        assert circle.distance(x, y)[0] == pytest.approx(radius - 0.2, abs=1e-4)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_normal_is_the_gradient_of_the_level(angle: float, turn: float) -> None:
    shape = Ellipse((0.0, 0.5), (0.3, 0.15), angle)
    u, v = 0.3 * np.cos(turn), 0.15 * np.sin(turn)
    x, y = rotate(np.array([u]), np.array([v]), -angle)
    y = y + 0.5
    step = 1e-4
    gx = (shape.level(x + step, y) - shape.level(x - step, y)) / (2 * step)
    gy = (shape.level(x, y + step) - shape.level(x, y - step)) / (2 * step)
    nx, ny = shape.normal(x, y)
    length = np.hypot(gx, gy)
    np.testing.assert_allclose([nx[0], ny[0]], [gx[0] / length[0], gy[0] / length[0]], atol=0.01)


def test_wobble_moves_the_outline_but_not_the_middle() -> None:
    x, y = pixel_grid(200, 200)
    plain = Ellipse((0.0, 0.5), (0.3, 0.3))
    rough = Ellipse((0.0, 0.5), (0.3, 0.3), 0.0, wobble(np.random.default_rng(0), 0.2))
    a, b = plain.level(x, y) <= 1, rough.level(x, y) <= 1
    assert (a ^ b).any()
    assert b[100, 100]
    assert (rough.distance(x, y)[b] <= 0).all()


def test_edges() -> None:
    signed = np.linspace(-1, 1, 5, dtype=np.float32)
    np.testing.assert_allclose(soft(signed, 0.5), [1, 1, 0.5, 0, 0])
    np.testing.assert_allclose(band(signed, 1.0), np.exp(-(signed**2)), rtol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_waves_have_mean_zero_deviation_one_and_the_frequency_asked_for(axes: int) -> None:
    values, crossings = [], []
    places = [np.linspace(0, 8, 4000, dtype=np.float32)] + [np.zeros(4000, np.float32)] * (axes - 1)
    for seed in range(60):
        line = Waves.draw(np.random.default_rng(seed), 5.0, axes=axes)(*places)
        values.append(line)
        crossings.append(np.count_nonzero(np.diff(np.sign(line))) / 2 / 8)
    assert np.mean(values) == pytest.approx(0, abs=0.1)
    assert np.std(values) == pytest.approx(1, abs=0.1)
    isotropic = 5.0 * np.sqrt(13 / 12) / np.sqrt(axes)  # rms of the speeds U(0.5, 1.5) · 5, seen along one axis (Rice)
    assert np.mean(crossings) == pytest.approx(isotropic, rel=0.12)
