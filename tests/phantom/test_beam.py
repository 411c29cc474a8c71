"""Ultrasound physics against theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unshift.phantom.beam import Geometry, complex_noise, decibels, received, reverberated
from unshift.phantom.shapes import pixel_grid

SHAPE = (512, 512)


def speckle(axial: float, lateral: float, seed: int = 0) -> np.ndarray:
    noise = complex_noise(np.random.default_rng(seed), SHAPE)
    return received(noise, np.zeros(SHAPE, np.float32), axial, np.full(SHAPE[0], lateral))


def correlation_length(envelope: np.ndarray, axis: int) -> float:
    """Lag at which the autocorrelation of the intensity falls to one half, along one axis."""
    intensity = envelope**2 - np.mean(envelope**2)
    power = np.abs(np.fft.fft(intensity, axis=axis)) ** 2
    correlation = np.fft.ifft(power, axis=axis).real.mean(axis=1 - axis)
    correlation = correlation / correlation[0]
    lag = int(np.argmax(correlation < 0.5))
    return lag - (0.5 - correlation[lag]) / (correlation[lag - 1] - correlation[lag])


@pytest.mark.parametrize("width", [1.0, 2.0, 3.5])
def test_fully_developed_speckle_is_rayleigh(width: float) -> None:
    envelope = np.abs(speckle(width, width))
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.04)  # 1.91
    assert np.mean(envelope**2) == pytest.approx(1.0, rel=0.05)
    far_apart = envelope[::16, ::16].ravel()
    assert stats.kstest(far_apart, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.001


def test_log_compressed_speckle_has_the_deviation_of_theory_whatever_its_level() -> None:
    signal = speckle(1.5, 1.5)
    theory = 10 / np.log(10) * np.pi / np.sqrt(6)  # 5.57 dB: the logarithm of an exponential variable
    for level in (1.0, 0.01):
        assert decibels(np.abs(level * signal)).std() == pytest.approx(theory, rel=0.04)


@pytest.mark.parametrize("axis", [0, 1])
def test_correlation_length_is_that_of_the_point_spread_function(axis: int) -> None:
    """Intensity correlation of complex Gaussian noise is the squared correlation of the field: exp(-d² / 2s²)."""
    for width in (1.5, 3.0, 4.5):
        widths = (width, 1.2) if axis == 0 else (1.2, width)
        expected = width * np.sqrt(2 * np.log(2))
        assert correlation_length(np.abs(speckle(*widths)), axis) == pytest.approx(expected, rel=0.08)


def test_the_beam_may_widen_with_depth() -> None:
    noise = complex_noise(np.random.default_rng(0), SHAPE)
    widths = np.linspace(1.0, 5.0, SHAPE[0])
    envelope = np.abs(received(noise, np.zeros(SHAPE, np.float32), 1.0, widths))
    shallow, deep = correlation_length(envelope[:128], 1), correlation_length(envelope[-128:], 1)
    assert deep > 2 * shallow
    assert np.mean(envelope[:64] ** 2) == pytest.approx(np.mean(envelope[-64:] ** 2), rel=0.2)


def test_a_point_becomes_a_gaussian() -> None:
    reflectors = np.zeros((65, 65), np.float32)
    reflectors[32, 32] = 1.0
    image = np.abs(received(np.zeros((65, 65), np.complex64), reflectors, 2.0, np.full(65, 3.0)))
    offsets = np.arange(65) - 32
    expected = np.exp(-(offsets[:, None] ** 2) / 8) * np.exp(-(offsets[None] ** 2) / 18) / (2 * np.pi * 6)
    np.testing.assert_allclose(image, expected, atol=1e-5)
    assert image.sum() == pytest.approx(1, rel=1e-3)


def test_reverberation_repeats_the_echo_at_the_period() -> None:
    signal = np.zeros((50, 3), np.complex64)
    signal[5] = 1.0
    echoed = np.abs(reverberated(signal, 0.5, 10))
    np.testing.assert_allclose(echoed[[5, 15, 25, 35, 45], 0], [1, 0.5, 0.25, 0.125, 0.0625])
    assert np.count_nonzero(echoed[:, 0]) == 5
    assert reverberated(signal, 0.0, 10) is signal


@pytest.mark.parametrize("opening", [0.0, 10.0, 40.0, 62.0])
def test_scan_conversion_inverts_the_beam_grid(opening: float) -> None:
    geometry = Geometry(opening)
    x, y, dx, dy = geometry.beam_grid(30, 20)
    depth, line = geometry.scan_grid(x, y)
    np.testing.assert_allclose(depth, np.broadcast_to(np.linspace(0, 1, 30)[:, None], depth.shape), atol=2e-3)
    np.testing.assert_allclose(line, np.broadcast_to(np.linspace(0, 1, 20)[None], line.shape), atol=2e-3)
    np.testing.assert_allclose(dx**2 + dy**2, 1, rtol=1e-5)
    assert y[:, 0][0] == pytest.approx(0, abs=1e-3)
    assert y[-1].max() == pytest.approx(1, abs=0.01)


def test_a_linear_array_sees_the_whole_image_and_a_sector_less_the_wider_it_opens() -> None:
    x, y = pixel_grid(96, 96)
    seen = [Geometry(opening).field_of_view(x, y).mean() for opening in (0, 15, 30, 45, 60)]
    assert seen[0] == 1.0
    assert (np.diff(seen) < 0).all()
    assert seen[-1] > 0.5


def test_scan_conversion_of_a_linear_array_keeps_depth() -> None:
    x, y = pixel_grid(64, 64)
    beams = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32)[:, None], (200, 80))
    np.testing.assert_allclose(Geometry(0).to_pixels(beams, x, y), y, atol=1e-3)


def test_decibels() -> None:
    np.testing.assert_allclose(decibels(np.array([1.0, 0.1, 0.0], np.float32)), [0, -20, -120], atol=1e-4)
