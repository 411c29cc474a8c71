"""Surface distances against MedPy, MONAI, SciPy and hand arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion, gaussian_filter

from unshift.errors import DataError
from unshift.metrics.surface import SurfaceDistances, asd, assd, hd, hd95, nsd, surface, surface_distances

SPACINGS = {2: [(1.0, 1.0), (0.7, 1.3), (5.0, 0.35)], 3: [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.9, 1.7, 2.3)]}


def blob(shape: tuple[int, ...], seed: int, *, at_border: bool = False) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2, mode="wrap")
    mask = noise > np.quantile(noise, 0.7)
    if at_border:
        mask[0] = mask[..., -1] = True
    return mask


def cases() -> list[tuple[np.ndarray, np.ndarray, tuple[float, ...]]]:
    found = []
    for seed in range(4):
        for shape in ((41, 57), (13, 22, 19)):
            for spacing in SPACINGS[len(shape)]:
                masks = [blob(shape, 10 * seed + k, at_border=seed % 2 == 1) for k in range(2)]
                found.append((masks[0], masks[1], spacing))
    return found


def monai(function, prediction: np.ndarray, reference: np.ndarray, *arguments: object, **options: object) -> float:
    tensors = (torch.from_numpy(m)[None, None] for m in (prediction, reference))
    return float(function(*tensors, *arguments, include_background=True, **options))


@pytest.mark.parametrize(("prediction", "reference", "spacing"), cases())
def test_equal_to_medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> None:
    distances = surface_distances(prediction, reference, spacing)
    for ours, theirs in (
        (hd(distances), medpy.hd),
        (hd95(distances, way="pooled"), medpy.hd95),
        (assd(distances), medpy.assd),
        (asd(distances), medpy.asd),
    ):
        assert ours == pytest.approx(theirs(prediction, reference, voxelspacing=spacing), abs=1e-6, rel=0)


@pytest.mark.parametrize(("prediction", "reference", "spacing"), cases())
def test_equal_to_monai(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> None:
    distances = surface_distances(prediction, reference, spacing)
    pairs = [
        (hd(distances), monai(compute_hausdorff_distance, prediction, reference, spacing=spacing)),
        (hd95(distances), monai(compute_hausdorff_distance, prediction, reference, percentile=95, spacing=spacing)),
        (asd(distances), monai(compute_average_surface_distance, prediction, reference, spacing=spacing)),
        (
            assd(distances),
            monai(compute_average_surface_distance, prediction, reference, symmetric=True, spacing=spacing),
        ),
    ]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, abs=1e-6, rel=1e-6)  # MONAI's values are float32


@pytest.mark.parametrize(("prediction", "reference", "spacing"), cases())
def test_nsd_equal_to_monai(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> None:
    distances = surface_distances(prediction, reference, spacing)
    for tolerance in (0.0, 0.83, 2.04):
        expected = monai(compute_surface_dice, prediction, reference, [tolerance], spacing=spacing)
        assert nsd(distances, tolerance) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("at_border", [False, True])
@pytest.mark.parametrize("shape", [(9,), (30, 20), (9, 8, 7), (5, 4, 3, 6), (1, 9), (1, 1)])
def test_surface_is_the_mask_without_its_erosion(shape: tuple[int, ...], at_border: bool) -> None:
    mask = blob(shape, 0, at_border=at_border)
    np.testing.assert_array_equal(surface(mask), mask ^ binary_erosion(mask))


def test_by_hand() -> None:
    prediction, reference = np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    prediction[1, 2] = True
    reference[1, 2] = reference[4, 6] = True
    distances = surface_distances(prediction, reference, (2.0, 0.5))
    far = math.hypot(3 * 2.0, 4 * 0.5)
    np.testing.assert_allclose(distances.from_prediction, [0.0])
    np.testing.assert_allclose(distances.from_reference, [0.0, far])
    assert hd(distances) == pytest.approx(far)
    assert assd(distances) == pytest.approx(far / 3)
    assert asd(distances) == 0.0
    assert hd95(distances) == pytest.approx(0.95 * far)  # 0 and far, linear between them
    assert hd95(distances, way="pooled") == pytest.approx(0.9 * far)  # 0, 0, far
    assert nsd(distances, 1.0) == pytest.approx(2 / 3)


def test_a_distance_of_exactly_the_tolerance_is_within_whatever_the_rounding() -> None:
    assert 3 * 0.7 < 2.1  # in binary; the other way round for 3 * 1.1
    for step, tolerance in ((0.7, 2.1), (1.1, 3.3), (0.1, 0.3)):
        prediction, reference = np.zeros((1, 8), dtype=bool), np.zeros((1, 8), dtype=bool)
        prediction[0, 1], reference[0, 4] = True, True
        assert nsd(surface_distances(prediction, reference, (1.0, step)), tolerance) == 1.0


@given(
    arrays(np.bool_, (7, 8)).filter(np.any),
    arrays(np.bool_, (7, 8)).filter(np.any),
    st.floats(0.01, 100),
)
def test_properties(prediction: np.ndarray, reference: np.ndarray, scale: float) -> None:
    distances = surface_distances(prediction, reference, (1.0, 2.0))
    scaled = surface_distances(prediction, reference, (scale, 2 * scale))
    swapped = surface_distances(reference, prediction, (1.0, 2.0))
    for metric in (hd, hd95, assd):
        assert metric(scaled) == pytest.approx(scale * metric(distances))
        assert metric(swapped) == pytest.approx(metric(distances))
    assert max(hd95(distances), hd95(distances, way="pooled")) <= hd(distances) + 1e-12
    assert nsd(distances, hd(distances)) == 1.0
    assert hd(surface_distances(reference, reference)) == 0.0


@given(arrays(np.bool_, (6, 5)).filter(np.any), arrays(np.bool_, (6, 5)).filter(np.any), st.integers(0, 9))
@settings(max_examples=40)
def test_empty_space_around_changes_nothing(prediction: np.ndarray, reference: np.ndarray, width: int) -> None:
    padded = [np.pad(mask, ((width, 1), (0, width))) for mask in (prediction, reference)]
    # Without a margin the image's border already counts as outside, so the surfaces are the same.
    first, second = surface_distances(prediction, reference), surface_distances(*padded)
    np.testing.assert_array_equal(first.joined, second.joined)


def test_threads_change_nothing() -> None:
    masks = [blob((40, 44, 42), seed) for seed in range(2)]
    one, two = (surface_distances(*masks, (1.0, 2.0, 3.0), workers=workers) for workers in (1, 2))
    assert len(one.from_prediction) > 5000
    np.testing.assert_array_equal(one.joined, two.joined)


def test_input_is_left_as_it_was() -> None:
    masks = [blob((20, 20), seed) for seed in range(2)]
    copies = [mask.copy() for mask in masks]
    surface_distances(*masks)
    for mask, copy in zip(masks, copies, strict=True):
        np.testing.assert_array_equal(mask, copy)


def test_an_empty_mask_is_refused() -> None:
    full, empty = np.ones((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool)
    with pytest.raises(DataError, match="Mask of the prediction: it is empty; a distance needs a surface"):
        surface_distances(empty, full)
    with pytest.raises(DataError, match="Mask of the reference"):
        surface_distances(full, empty)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -2.0), (1.0, math.nan), (1.0, 1.0, 1.0)])
def test_a_wrong_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(DataError, match="2 positive numbers are required"):
        surface_distances(mask, mask, spacing)


def test_joined_holds_both_directions() -> None:
    np.testing.assert_array_equal(SurfaceDistances(np.array([1.0]), np.array([2.0, 3.0])).joined, [1.0, 2.0, 3.0])
