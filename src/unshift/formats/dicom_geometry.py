"""Where DICOM planes lie: their order along the normal, spacing in mm, affine to RAS+ mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64

from unshift.errors import DataError
from unshift.formats.dicom_files import count_frames, frame_value

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_CENTIMETER = 3  # code of PhysicalUnitsXDirection
_TWO_DIMENSIONAL = 1  # code of RegionSpatialFormat


@dataclass(frozen=True)
class Plane:
    """One image plane; None where the file does not say.

    Args:
        name: of the file or frame, for messages.
        position: center of the first pixel, LPS+ mm.
        orientation: rows of unit vectors: [0] along a row (to the next column), [1] down a column (to the next row).
        spacing: mm between rows, mm between columns.
        depth: mm to the next plane as the header states it.
    """

    name: str
    position: Float64[np.ndarray, "3"] | None
    orientation: Float64[np.ndarray, "2 3"] | None
    spacing: tuple[float, float] | None
    depth: float | None


@dataclass(frozen=True)
class Placement:
    """Order of the planes along the slice axis; spacing (depth, height, width); affine of the volume."""

    order: tuple[int, ...]
    spacing: tuple[float, float, float] | None
    affine: Float64[np.ndarray, "4 4"] | None


def plane(dataset: pydicom.Dataset, frame: int, name: str) -> Plane:
    """The plane of a frame (0 for files of one image).

    Raises:
        DataError: position or orientation is not finite, or the orientation is not two perpendicular unit vectors.
    """
    position = frame_value(dataset, frame, "PlanePositionSequence", "ImagePositionPatient")
    orientation = frame_value(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    measures = {
        keyword: frame_value(dataset, frame, "PixelMeasuresSequence", keyword) or dataset.get(keyword)
        for keyword in ("PixelSpacing", "SpacingBetweenSlices", "SliceThickness")
    }
    # the thickness of a slab is the distance to its neighbour only where there is no neighbour to tell
    is_single = count_frames(dataset) == 1
    depth = measures["SpacingBetweenSlices"] or (measures["SliceThickness"] if is_single else None)
    result = Plane(
        name=name,
        position=np.array(position, dtype=np.float64).reshape(3) if position else None,
        orientation=np.array(orientation, dtype=np.float64).reshape(2, 3) if orientation else None,
        spacing=_pair(measures["PixelSpacing"]) or _other_spacing(dataset),
        depth=abs(float(depth)) or None if depth else None,
    )
    _require_frame_of_reference(result)
    return result


def place(planes: Sequence[Plane], path: Path, *, is_series: bool) -> Placement:
    """Sort planes along their normal and place the volume.

    Depth spacing is the mean distance of neighbors. Positions are often rounded: a step may differ from the usual one
    by a quarter, if no plane lies further off the equidistant line than a tenth of a step, or 0.1 mm.
    Frames of one file may lack positions (a cine loop): they keep their order, and have no affine.

    Raises:
        DataError: planes that are tilted to each other or differ in spacing; doubled, missing or unknown positions.
    """
    first = planes[0]
    _require_same_measures(planes, path)
    if len(planes) == 1:
        normal = None if first.orientation is None else np.cross(*first.orientation) * (first.depth or 1.0)
        return Placement((0,), _spacing(first.depth, first.spacing), _affine(first, normal))
    located = [p for p in planes if p.position is not None and p.orientation is not None]
    if not located and not is_series:
        return Placement(tuple(range(len(planes))), _spacing(first.depth, first.spacing), None)
    if len(located) < len(planes):
        lost = next(p.name for p in planes if p.position is None or p.orientation is None)
        raise DataError(f"{path}: {lost} has no position or orientation; a volume needs both. Read its files singly.")
    points = np.stack([p.position for p in planes if p.position is not None])
    assert first.orientation is not None
    order = np.argsort(points @ np.cross(*first.orientation), kind="stable")
    step = _step(points[order], [planes[i].name for i in order], np.cross(*first.orientation), path)
    length = float(np.linalg.norm(step))
    return Placement(tuple(order.tolist()), _spacing(length, first.spacing), _affine(planes[order[0]], step))


def _step(points: np.ndarray, names: list[str], normal: np.ndarray, path: Path) -> np.ndarray:
    """The vector from one plane to the next, which must be nearly the same all along."""
    distances = np.diff(points @ normal)
    usual = float(np.median(distances))
    for i in np.flatnonzero(distances < max(1e-3, 0.01 * usual)):
        raise DataError(f"{path}: {names[i]} and {names[i + 1]} lie at one position. Keep one, or split the series.")
    for i in np.flatnonzero(np.abs(distances - usual) > 0.25 * usual):
        raise DataError(
            f"{path}: {names[i]} and {names[i + 1]} are {distances[i]:g} mm apart, others {usual:g} mm; "
            "steps must be equal. Add the missing slices, or split the series."
        )
    step = (points[-1] - points[0]) / (len(points) - 1)
    line = points[0] + np.arange(len(points))[:, None] * step
    away = np.linalg.norm(points - line, axis=1)
    if away.max() > max(0.1 * np.linalg.norm(step), 0.1):
        raise DataError(
            f"{path}: {names[int(away.argmax())]} lies {away.max():.2g} mm off the line of the other slices; "
            "one affine cannot say that. Resample the series."
        )
    return step


def _require_frame_of_reference(found: Plane) -> None:
    axes = found.orientation
    if axes is not None and not np.allclose(axes @ axes.T, np.eye(2), atol=1e-2):
        raise DataError(
            f"{found.name}: ImageOrientationPatient is {axes.ravel().tolist()}; two perpendicular unit vectors are "
            "required. Correct the header."
        )
    if found.position is not None and not np.isfinite(found.position).all():
        raise DataError(f"{found.name}: ImagePositionPatient is not finite. Correct the header.")


def _require_same_measures(planes: Sequence[Plane], path: Path) -> None:
    first = planes[0]
    for other in planes[1:]:
        if (first.spacing is None) != (other.spacing is None) or not np.allclose(
            first.spacing or 0, other.spacing or 0, rtol=1e-3
        ):
            raise DataError(
                f"{path}: pixel spacing is {first.spacing} in {first.name} but {other.spacing} in {other.name}; "
                "a volume has one. Split the series."
            )
        tilted = first.orientation is not None and other.orientation is not None
        if tilted and not np.allclose(first.orientation, other.orientation, atol=1e-3):  # type: ignore[arg-type]
            raise DataError(
                f"{path}: {first.name} and {other.name} are tilted to each other; slices of a volume are parallel. "
                "Take the localizer out, or split the series."
            )


def _spacing(depth: float | None, plane_spacing: tuple[float, float] | None) -> tuple[float, float, float] | None:
    return None if depth is None or plane_spacing is None else (depth, *plane_spacing)


def _affine(first: Plane, step: np.ndarray | None) -> np.ndarray | None:
    if first.position is None or first.orientation is None or first.spacing is None or step is None:
        return None
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.orientation[1] * first.spacing[0]
    affine[:3, 2] = first.orientation[0] * first.spacing[1]
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine


def _other_spacing(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """At the detector (radiographs), of the scanned film, or of the only calibrated 2-D region (ultrasound)."""
    regions = [
        (abs(float(r.PhysicalDeltaY)) * 10, abs(float(r.PhysicalDeltaX)) * 10)
        for r in dataset.get("SequenceOfUltrasoundRegions") or []
        if (r.get("PhysicalUnitsXDirection"), r.get("PhysicalUnitsYDirection")) == (_CENTIMETER, _CENTIMETER)
        and r.get("RegionSpatialFormat", _TWO_DIMENSIONAL) == _TWO_DIMENSIONAL
    ]
    agree = bool(regions) and np.allclose(regions, regions[0], rtol=1e-3)
    return (
        _pair(dataset.get("ImagerPixelSpacing"))
        or _pair(dataset.get("NominalScannedPixelSpacing"))
        or (_pair(regions[0]) if agree else None)
    )


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    """Two positive lengths, or None: some writers put 0 for unknown."""
    if values is None or len(values) != 2 or min(map(float, values)) <= 0:
        return None
    return float(values[0]), float(values[1])
