from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from unshift.phantom.camera import CameraKnobs, compressed, field_of_view, photograph
from unshift.phantom.knobs import shift

SIZE = (64, 80)
STRENGTHS = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(generator.standard_normal((3, *SIZE)), (0, 4, 4))
    return (0.35 + 0.2 * smooth / smooth.std()).clip(0.02, 0.7).astype(np.float32)


def taken(scene: np.ndarray, **knobs) -> np.ndarray:
    return photograph(scene, CameraKnobs(**knobs), np.random.default_rng(1))


def curve(scene: np.ndarray, knob: str, measure) -> np.ndarray:
    pictures = [photograph(scene, shift(CameraKnobs(), knob, s), np.random.default_rng(1)) for s in STRENGTHS]
    return np.array([measure(picture) for picture in pictures])


def test_neutral_knobs_return_the_scene_in_8_bits(scene: np.ndarray) -> None:
    np.testing.assert_allclose(taken(scene), scene, atol=0.5 / 255 + 1e-6)


def test_white_balance_and_exposure_are_factors(scene: np.ndarray) -> None:
    dim = scene * 0.4
    factors = taken(dim, white_balance=(0.5, 1.0, 1.5)).mean((1, 2)) / dim.mean((1, 2))
    np.testing.assert_allclose(factors, [0.5, 1.0, 1.5], atol=0.01)
    assert taken(dim, exposure=1.0).mean() == pytest.approx(2 * dim.mean(), rel=0.01)


def test_gamma_is_an_exponent(scene: np.ndarray) -> None:
    np.testing.assert_allclose(taken(scene, gamma=2.0), scene**2, atol=0.003)


def test_saturation_scales_the_distance_from_grey(scene: np.ndarray) -> None:
    def colour(picture: np.ndarray) -> float:
        return float(np.std(picture, axis=0).mean())

    assert (np.diff(curve(scene, "saturation", colour)) < 0).all()
    assert colour(taken(scene, saturation=0.0)) < 0.002
    luma = np.array([0.299, 0.587, 0.114])
    before, after = (np.tensordot(luma, p, axes=1) for p in (scene, taken(scene, saturation=0.5)))
    np.testing.assert_allclose(after, before, atol=0.004)


def test_vignetting_darkens_the_corners_only(scene: np.ndarray) -> None:
    assert (np.diff(curve(scene, "vignetting", lambda p: p[:, :6, :6].mean())) < 0).all()
    middle = curve(scene, "vignetting", lambda p: p[:, 30:34, 38:42].mean())
    np.testing.assert_allclose(middle, middle[0], atol=0.01)


def test_uneven_light_tilts_the_brightness() -> None:
    flat = np.full((3, 64, 64), 0.4, np.float32)
    assert (np.diff(curve(flat, "uneven", lambda p: p.max() - p.min())) > 0).all()
    assert taken(flat, uneven=0.5).mean() == pytest.approx(0.4, abs=0.01)


def test_haze_reduces_contrast(scene: np.ndarray) -> None:
    assert (np.diff(curve(scene, "haze", np.std)) < 0).all()
    assert taken(scene, haze=0.5).std() == pytest.approx(0.5 * scene.std(), rel=0.1)
    assert taken(scene, haze=1.0).std(axis=(1, 2)).max() < 1e-6


def test_blur_removes_edges(scene: np.ndarray) -> None:
    assert (np.diff(curve(scene, "blur", lambda p: np.abs(np.diff(p, axis=2)).mean())) < 0).all()


def test_noise_raises_the_residual(scene: np.ndarray) -> None:
    assert (np.diff(curve(scene, "noise", lambda p: np.std(p - scene))) > 0.005).all()
    flat = np.full((3, 96, 96), 0.5, np.float32)
    expected = 0.04 * np.sqrt(0.25 + 0.75 * 0.5)
    assert (taken(flat, noise=0.04) - flat).std() == pytest.approx(expected, rel=0.04)


def test_jpeg_leaves_blocks(scene: np.ndarray) -> None:
    def blocking(picture: np.ndarray) -> float:
        steps = np.abs(np.diff(picture, axis=2)).mean((0, 1))
        border = np.arange(len(steps)) % 8 == 7
        return float(steps[border].mean() / steps[~border].mean())

    rough = (scene + 0.05 * np.random.default_rng(2).standard_normal(scene.shape)).clip(0, 1).astype(np.float32)
    assert (np.diff(curve(rough, "jpeg", lambda p: np.abs(p - rough).mean())) > 0).all()
    assert blocking(taken(scene, jpeg=6.0)) > blocking(scene) + 0.5


@pytest.mark.parametrize(("scale", "quality"), [(1.0, 50), (2.0, 25)])
def test_jpeg_loses_what_a_jpeg_library_loses(scene: np.ndarray, scale: float, quality: int) -> None:
    stored = io.BytesIO()
    pixels = np.round(scene.transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality, subsampling=0)
    library = np.asarray(Image.open(stored), dtype=np.float32).transpose(2, 0, 1) / 255
    given = pixels.transpose(2, 0, 1).astype(np.float32) / 255
    ours = compressed(given, scale)
    lost, lost_by_library = ours - given, library - given  # the library also rounds to 8 bits between its stages
    assert np.corrcoef(lost.ravel(), lost_by_library.ravel())[0, 1] > 0.9
    assert lost.std() == pytest.approx(lost_by_library.std(), rel=0.05)


def test_jpeg_takes_any_size_and_nothing_at_0(scene: np.ndarray) -> None:
    assert compressed(scene[:, :61, :37], 1.0).shape == (3, 61, 37)
    assert compressed(scene, 0.0) is scene


def test_aperture_is_a_disc() -> None:
    seen = field_of_view(200, 200, 0.4)
    assert seen.mean() == pytest.approx(np.pi * 0.16, rel=0.01)
    assert field_of_view(64, 64, 1.0).all()


def test_aperture_blackens_outside(scene: np.ndarray) -> None:
    picture = taken(scene, aperture=0.4)
    assert not picture[:, ~field_of_view(*SIZE, 0.4)].any()
