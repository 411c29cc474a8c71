from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from unshift.phantom import degradations as do
from unshift.phantom.degradations import Frame

SIZE = (112, 144)  # a unit is half a pixel


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(generator.standard_normal((3, *SIZE)), (0, 1.5, 1.5))
    return (0.45 + 0.1 * smooth / smooth.std()).clip(0.02, 0.9).astype(np.float32)


def frame(shape: tuple[int, ...] = SIZE, *, seed: int = 0, inside: np.ndarray | None = None) -> Frame:
    return Frame(np.ones(shape, bool) if inside is None else inside, np.random.default_rng(seed))


def point(size: int, channels: int = 1) -> np.ndarray:
    picture = np.zeros((channels, size, size), np.float32)
    picture[:, size // 2, size // 2] = 1
    return picture


def spectrum(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power at each frequency (the greater of the two, in cycles per pixel), window against the edges."""
    window = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    rows, columns = (np.abs(np.fft.fftfreq(n)) for n in plane.shape)
    return np.maximum(rows[:, None], columns[None]), power


@pytest.mark.parametrize("factor", [1.5, 2, 3.5])
def test_low_resolution_leaves_little_above_its_nyquist_frequency(factor: float) -> None:
    noise = (0.5 + 0.1 * np.random.default_rng(1).standard_normal((1, *SIZE))).clip(0, 1).astype(np.float32)
    found = do.low_resolution(noise, factor, frame())
    frequency, before = spectrum(noise[0])
    _, after = spectrum(found[0])
    high, low = frequency > 0.5 / factor, frequency < 0.2 / factor
    assert after[high].sum() < 0.1 * before[high].sum()
    assert after[low].sum() > 0.6 * before[low].sum()


def test_low_resolution_averages_areas() -> None:
    """Half the pixels along each axis: a pixel of the small picture is the mean of four."""
    picture = np.random.default_rng(2).uniform(0, 1, (3, 8, 8)).astype(np.float32)
    found = do.low_resolution(picture, 2, frame((8, 8)))
    small = picture.reshape(3, 4, 2, 4, 2).mean((2, 4))
    # Linear interpolation: pixel (1, 1) lies a quarter of the way from the first small pixel to its neighbours.
    expected = 0.5625 * small[:, 0, 0] + 0.1875 * (small[:, 0, 1] + small[:, 1, 0]) + 0.0625 * small[:, 1, 1]
    np.testing.assert_allclose(found[:, 1, 1], expected, atol=1e-5)


def test_low_resolution_counts_units_in_large_pictures() -> None:
    """The same scene at twice the resolution loses the same detail."""
    coarse = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((224, 224)), 3)
    coarse = (0.5 + coarse).clip(0, 1).astype(np.float32)[None]
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2)
    found = do.low_resolution(fine, 4, frame((448, 448))).reshape(1, 224, 2, 224, 2).mean((2, 4))
    np.testing.assert_allclose(found, do.low_resolution(coarse, 4, frame((224, 224))), atol=0.02)


def test_jpeg_is_pillows(scene: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(np.round(scene * 255).astype(np.uint8).transpose(1, 2, 0)).save(file, "JPEG", quality=15)
    expected = np.asarray(Image.open(file)).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.round(do.jpeg(scene, 15, frame()) * 255), expected)
    grey = do.jpeg(scene[:1], 15, frame())
    assert grey.shape == (1, *SIZE)
    file = io.BytesIO()
    Image.fromarray(np.round(scene[0] * 255).astype(np.uint8)).save(file, "JPEG", quality=15)
    np.testing.assert_array_equal(np.round(grey[0] * 255), np.asarray(Image.open(file)))


def test_jpeg_has_edges_between_blocks_of_8_pixels(scene: np.ndarray) -> None:
    steps = np.abs(np.diff(do.jpeg(scene[:1], 7, frame())[0], axis=1)).mean(0)
    between = np.arange(1, SIZE[1]) % 8 == 0
    assert steps[between].mean() > 2 * steps[~between].mean()
    steps = np.abs(np.diff(scene[0], axis=1)).mean(0)
    assert steps[between].mean() == pytest.approx(steps[~between].mean(), rel=0.1), "the picture itself has none"


def test_haze_brightens_and_flattens_unevenly(scene: np.ndarray) -> None:
    found = do.haze(scene, 0.5, frame(seed=4))
    share = (found - scene) / (np.array([0.82, 0.80, 0.78])[:, None, None] - scene)  # of the veil, by definition
    assert share.min() > 0.5 * 0.6 - 1e-3 and share.max() < 0.5 * 1.4 + 1e-3
    assert share.std() > 0.02
    np.testing.assert_allclose(share[0], share[1], atol=1e-3)
    assert found.mean() > scene.mean() and found.std() < scene.std()
    grey = do.haze(np.zeros((1, 16, 16), np.float32), 0.5, frame((16, 16)))
    assert 0.24 < grey.min() < grey.max() < 0.57


def test_defocus_makes_a_point_a_disc() -> None:
    disc = do.defocus(point(448), 8, frame((448, 448)))[0]  # radius 16 pixels
    y, x = np.mgrid[-224:224, -224:224]
    distance = np.hypot(y, x)
    np.testing.assert_allclose(disc[distance < 14], 1 / (np.pi * 16**2), rtol=0.05)
    assert np.abs(disc[distance > 18]).max() < 1e-6
    assert disc.sum() == pytest.approx(1, abs=1e-4)


def test_defocus_below_a_pixel_still_blurs() -> None:
    disc = do.defocus(point(48), 1.5, frame((48, 48)))[0]  # radius a third of a pixel
    assert 0.5 < disc[24, 24] < 0.9 and disc[24, 25] == pytest.approx(disc[24, 23], abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_motion_makes_a_point_a_line_at_a_drawn_angle(seed: int) -> None:
    line = do.motion(point(448), 20, frame((448, 448), seed=seed))[0].clip(1e-7) - 1e-7  # 40 pixels
    angle = np.random.default_rng(seed).uniform(0, np.pi)
    y, x = np.mgrid[-224:224, -224:224]
    along, across = np.sin(angle) * y + np.cos(angle) * x, np.cos(angle) * y - np.sin(angle) * x
    deviation = [np.sqrt((line * t**2).sum() / line.sum()) for t in (along, across)]
    assert deviation[0] == pytest.approx(40 / np.sqrt(12), rel=0.03), "a uniform line's"
    assert deviation[1] < 0.6


def test_sharpening_overshoots_edges_and_keeps_flat_parts() -> None:
    picture = np.full((1, 64, 64), 0.3, np.float32)
    picture[:, :, 32:] = 0.6
    found = do.sharpen(picture, 1.0, frame((64, 64)))
    assert found.max() > 0.62 and found.min() < 0.28
    np.testing.assert_allclose(found[:, :, :20], 0.3, atol=1e-4)


@pytest.mark.parametrize("size", [112, 640])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_noise_has_the_deviation_that_it_says(size: int, level: float) -> None:
    """At any size of the grain: deviation at full light, half of it in the dark (which clips at black)."""
    picture = np.full((3, size, size), level, np.float32)
    found = do.noise(picture, 0.08, frame((size, size)))
    change = (found - picture).astype(np.float64)
    if level:
        assert change.std() == pytest.approx(0.08 * np.sqrt(0.25 + 0.75 * level), rel=0.03)
        neighbours = np.corrcoef(change[0, :, 1:].ravel(), change[0, :, :-1].ravel())[0, 1]
        assert (abs(neighbours) < 0.03) if size < 224 else (0.3 < neighbours < 0.9)
    else:
        assert np.sqrt((change**2).mean()) == pytest.approx(0.04 / np.sqrt(2), rel=0.03), "the half above black"


def test_a_cast_changes_the_ratios_of_the_channels_and_not_the_brightness_of_grey() -> None:
    grey = np.full((3, 8, 8), 0.4, np.float32)
    warm, cold = (do.cast(grey, stops, frame((8, 8)))[:, 0, 0] for stops in (0.5, -0.5))
    assert warm[0] / warm[2] == pytest.approx(2) and cold[0] / cold[2] == pytest.approx(0.5)
    for found in (warm, cold):
        assert np.dot(found, [0.299, 0.587, 0.114]) == pytest.approx(0.4, abs=1e-5)
    assert np.array_equal(do.cast(grey[:1], 0.5, frame((8, 8))), grey[:1])


def test_the_side_of_a_cast_is_drawn(scene: np.ndarray) -> None:
    found = [do.any_cast(scene, 0.3, frame(seed=seed)) for seed in range(30)]
    warm = [bool((f[0] / f[2]).mean() > (scene[0] / scene[2]).mean()) for f in found]
    assert 5 < sum(warm) < 25
    for f, is_warm in zip(found, warm, strict=True):
        np.testing.assert_array_equal(f, do.cast(scene, 0.3 if is_warm else -0.3, frame()))


def test_exposure_counts_stops_of_light() -> None:
    """In linear light (gamma 2.2 taken off), a stop is a factor of 2; white clips."""
    picture = np.array([0.2, 0.5, 0.9], np.float32).reshape(1, 1, 3)
    for stops in (1, -1):
        found = do.exposure(picture, stops, frame((1, 3)))
        np.testing.assert_allclose(found**2.2, np.minimum(picture**2.2 * 2.0**stops, 1), rtol=1e-4)


@pytest.mark.parametrize("where", ["all", "round"])
def test_vignetting_darkens_the_rim_of_the_field_and_not_its_middle(where: str) -> None:
    y, x = np.mgrid[:101, :141]
    inside = np.hypot(y - 50, x - 40) <= 35 if where == "round" else np.ones((101, 141), bool)
    found = do.vignetting(np.full((3, 101, 141), 0.8, np.float32), 0.5, frame(inside=inside))
    middle, rim = ((50, 40), (50, 75)) if where == "round" else ((50, 70), (0, 0))
    np.testing.assert_allclose(found[(slice(None), *middle)], 0.8, atol=1e-6)
    np.testing.assert_allclose(found[(slice(None), *rim)], 0.4, atol=1e-3)


def test_saturation_moves_colours_away_from_their_grey() -> None:
    picture = np.array([0.5, 0.4, 0.3], np.float32).reshape(3, 1, 1)
    grey = np.dot([0.299, 0.587, 0.114], [0.5, 0.4, 0.3])
    found = do.saturation(picture, 1.5, frame((1, 1)))
    np.testing.assert_allclose(found - grey, 1.5 * (picture - grey), atol=1e-6)
    assert np.array_equal(do.saturation(picture[:1], 1.5, frame((1, 1))), picture[:1])


@pytest.mark.parametrize(
    ("degradation", "amount"),
    [(do.low_resolution, 4), (do.defocus, 7), (do.motion, 20), (do.sharpen, 1.0)],
)
def test_what_lies_outside_the_field_of_view_does_not_bleed_in(degradation, amount: float) -> None:
    y, x = np.mgrid[:112, :112]
    inside = np.hypot(y - 56, x - 56) < 45
    picture = np.where(inside, np.float32(0.6), np.float32(0))[None]
    found = degradation(picture, amount, frame(inside=inside))
    np.testing.assert_allclose(found[0][inside], 0.6, atol=2e-3)
