from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from unshift.errors import DataError
from unshift.formats.dicom_geometry import Plane, place, plane

PIXELS = np.zeros((4, 6), np.int16)
PATH = Path("series")
AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])


def planes(points: list[list[float]], axes: np.ndarray = AXIAL, **changes: Any) -> list[Plane]:
    settings = {"orientation": axes, "spacing": (0.5, 0.75), "depth": None, **changes}
    return [Plane(f"{i}.dcm", np.array(p), **settings) for i, p in enumerate(points)]


def test_order_spacing_and_affine_of_axial_slices() -> None:
    result = place(planes([[10, 20, 4], [10, 20, 0], [10, 20, 2]]), PATH, is_series=True)
    assert result.order == (1, 2, 0) and result.spacing == (2.0, 0.5, 0.75)
    # by hand: LPS (10 + 0.75 column, 20 + 0.5 row, 2 slice), with x and y negated for RAS
    assert result.affine is not None
    for slice_, row, column in ((0, 0, 0), (2, 3, 5)):
        expected = [-(10 + 0.75 * column), -(20 + 0.5 * row), 2 * slice_, 1]
        np.testing.assert_allclose(result.affine @ [slice_, row, column, 1], expected)


@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    gap=st.floats(0.5, 8),
    count=st.integers(2, 12),
    seed=st.integers(0, 99),
)
def test_any_orientation_equals_the_standards_equation(angles, gap: float, count: int, seed: int) -> None:
    """PS3.3 C.7.6.2.1.1: P = S + X Δi i + Y Δj j, with X along a row and Y down a column."""
    rotation = euler2mat(*angles)
    x, y, normal = rotation[:, 0], rotation[:, 1], rotation[:, 2]
    order = np.random.default_rng(seed).permutation(count)
    points = np.array([5.0, -6, 7]) + gap * order[:, None] * normal
    result = place(planes(points.tolist(), np.stack([x, y])), PATH, is_series=True)
    assert [order[i] for i in result.order] == list(range(count))
    assert result.spacing == pytest.approx((gap, 0.5, 0.75))
    for position, file in enumerate(result.order):
        lps = points[file] + x * 0.75 * 5 + y * 0.5 * 3
        assert result.affine is not None
        np.testing.assert_allclose((result.affine @ [position, 3, 5, 1])[:3], lps * [-1, -1, 1], atol=1e-9)


def test_gantry_tilt_is_a_shear_of_the_affine() -> None:
    result = place(planes([[0, 0.5 * i, 2.0 * i] for i in range(4)]), PATH, is_series=True)
    assert result.affine is not None
    np.testing.assert_allclose(result.affine[:3, 0], [0, -0.5, 2])
    assert result.spacing == pytest.approx((np.hypot(0.5, 2), 0.5, 0.75))


def test_rounded_positions_are_accepted() -> None:
    positions = [round(0.625 * i, 1) for i in range(20)]  # 0, 0.6, 1.2, 1.9, ...
    steps = np.diff(positions)
    assert steps.min() < 0.61 < 0.69 < steps.max()
    result = place(planes([[0, 0, z] for z in positions]), PATH, is_series=True)
    assert result.spacing is not None and result.spacing[0] == pytest.approx(0.625, rel=0.01)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[0, 0, 0], [0, 0, 2], [0, 0, 2]], "1.dcm and 2.dcm lie at one position"),
        ([[0, 0, 0], [0, 0, 0]], "0.dcm and 1.dcm lie at one position"),
        ([[0, 0, 6], [0, 0, 0], [0, 0, 2], [0, 0, 8]], "2.dcm and 0.dcm are 4 mm apart, others 2 mm"),
        ([[0, 0, z] for z in (0, 5, 10, 15, 20, 26, 32, 38, 44)], "4.dcm lies 2 mm off the line"),
        ([[0, 0, 0], [3, 0, 2], [0, 0, 4]], "1.dcm lies 3 mm off the line of the other slices"),
    ],
)
def test_irregular_positions_are_refused(points: list[list[float]], words: str) -> None:
    with pytest.raises(DataError, match=f"series: {words}"):
        place(planes(points), PATH, is_series=True)


def test_planes_that_do_not_belong_together() -> None:
    tilted = planes([[0, 0, 1.0]], np.array([[1.0, 0, 0], [0, 0, 1]]))
    with pytest.raises(DataError, match="tilted to each other; .* localizer"):
        place(planes([[0, 0, 0.0]]) + tilted, PATH, is_series=True)
    other = planes([[0, 0, 1.0]], spacing=(0.5, 0.5))
    with pytest.raises(DataError, match=r"pixel spacing is \(0.5, 0.75\) in 0.dcm but \(0.5, 0.5\)"):
        place(planes([[0, 0, 0.0]]) + other, PATH, is_series=True)


def test_planes_without_position() -> None:
    lost = [Plane(f"{i}.dcm", None, None, (0.5, 0.75), 3.0) for i in range(3)]
    with pytest.raises(DataError, match=r"0.dcm has no position or orientation; a volume needs both"):
        place(lost, PATH, is_series=True)
    cine = place(lost, PATH, is_series=False)
    assert (cine.order, cine.spacing, cine.affine) == ((0, 1, 2), (3.0, 0.5, 0.75), None)
    with pytest.raises(DataError, match="0.dcm has no position"):
        place([lost[0], *planes([[0, 0, 1.0]])], PATH, is_series=False)


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"PixelSpacing": [0.5, 0.75]}, (0.5, 0.75)),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, (0.1, 0.2)),
        ({"PixelSpacing": [0.5, 0.75], "ImagerPixelSpacing": [0.1, 0.2]}, (0.5, 0.75)),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_spacing_in_the_plane(make_dicom: Callable[..., Dataset], attributes: dict[str, Any], spacing: Any) -> None:
    assert plane(make_dicom(PIXELS, **attributes), 0, "a.dcm").spacing == spacing


def region(dy: float, dx: float, unit: int = 3) -> Dataset:
    item = Dataset()
    item.PhysicalDeltaX, item.PhysicalDeltaY, item.RegionSpatialFormat = dx, dy, 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    return item


@pytest.mark.parametrize(
    ("regions", "spacing"),
    [
        ([region(0.02, -0.03)], (0.2, 0.3)),
        ([region(0.02, 0.03), region(1, 1, unit=4)], (0.2, 0.3)),
        ([region(0.02, 0.03), region(0.05, 0.05)], None),
        ([region(1, 1, unit=4)], None),
    ],
)
def test_ultrasound_regions_are_in_cm(make_dicom: Callable[..., Dataset], regions: list[Dataset], spacing: Any) -> None:
    found = plane(make_dicom(PIXELS, SequenceOfUltrasoundRegions=Sequence(regions)), 0, "a.dcm").spacing
    assert found is None if spacing is None else found == pytest.approx(spacing)


@pytest.mark.parametrize("axes", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
def test_impossible_orientations(make_dicom: Callable[..., Dataset], axes: list[float]) -> None:
    with pytest.raises(DataError, match="a.dcm: ImageOrientationPatient is .* two perpendicular unit vectors"):
        plane(make_dicom(PIXELS, ImageOrientationPatient=axes), 0, "a.dcm")
