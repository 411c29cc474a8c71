"""DICOM: a file with one or several frames, or a folder that holds the files of one series.

A file of one frame is a flat picture [channel, height, width]; a file of several frames and a folder are volumes
[channel, depth, height, width] sorted by position along the slice normal, so that the order and names of files do not
matter. Frames without positions (a cine loop) keep their order. The affine is RAS+ (DICOM itself is LPS+); a flat
picture carries the 4×4 affine of the volume whose only slice it is. A volume of which one of the three distances is
unknown has spacing None.

Spacing: PixelSpacing, else ImagerPixelSpacing (at the detector, not corrected for magnification), else
NominalScannedPixelSpacing, else the only calibration of ultrasound regions. Values: see :mod:`dicom_pixels`. Padding
values are kept as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import torch
from jaxtyping import Int
from torch import Tensor

from unshift.contracts import Format, Picture
from unshift.errors import DataError, ShapeMismatch
from unshift.formats.dicom_files import PYDICOM_ERRORS, count_frames, read_dataset, series_files
from unshift.formats.dicom_geometry import place, plane
from unshift.formats.dicom_pixels import image_frames, stored_frames
from unshift.formats.files import decoding, is_folder
from unshift.formats.values import image_tensor, label_tensor

_SHARED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation")


class Dicom(Format):
    """Reads DICOM files and series; label maps are written in other formats."""

    suffixes = (".dicom", ".dcm", ".ima")

    def read_image(self, path: Path) -> Picture:
        """float32: color and photographic grey in [0, 1], everything else in the unit that rescaling gives (HU).

        Raises:
            DataError: damaged; no pixels; no decoder; mixed series; doubled or missing slices. Files are named.
        """
        datasets = _datasets(path)
        frames = np.concatenate([image_frames(dataset, file) for file, dataset in datasets])
        return _picture(frames.swapaxes(0, 1), datasets, path, is_label=False)

    def read_label_map(self, path: Path) -> Picture:
        """int64: the numbers as stored, not rescaled, not inverted; palette indices.

        Raises:
            DataError: as for images; color; DICOM SEG objects, which hold one mask per segment.
        """
        datasets = _datasets(path)
        for file, dataset in datasets:
            if dataset.get("SamplesPerPixel", 1) != 1:
                raise DataError(f"{file}: a color image; a label map has one channel. Map its colors to labels.")
        frames = np.concatenate([stored_frames(dataset, file)[..., 0] for file, dataset in datasets])
        return _picture(frames, datasets, path, is_label=True)

    def write_label_map(self, path: Path, label_map: Int[Tensor, "*space"], *, like: Picture | None = None) -> None:
        """Not done in this format: a DICOM label map is an object (SEG) of the source images' study, not of a grid.

        Raises:
            DataError: always.
        """
        raise DataError(f"{path}: label maps are not written as DICOM; NIfTI keeps the same geometry. Use .nii.gz.")


def _datasets(path: Path) -> list[tuple[Path, pydicom.FileDataset]]:
    """One file, or all of a folder, which must be of one series and one size."""
    files = series_files(path) if is_folder(path) else [path]
    datasets = [(file, read_dataset(file)) for file in files]
    with decoding(path, "DICOM series", *PYDICOM_ERRORS):
        for other in datasets[1:]:
            _require_same_series(datasets[0], other, path)
    return datasets


def _require_same_series(
    one: tuple[Path, pydicom.FileDataset], other: tuple[Path, pydicom.FileDataset], path: Path
) -> None:
    (first_file, first), (file, dataset) = one, other
    if dataset.get("SeriesInstanceUID") != first.get("SeriesInstanceUID"):
        raise DataError(f"{path}: {first_file.name} and {file.name} are of different series. Give each its folder.")
    if count_frames(dataset) > 1 or count_frames(first) > 1:
        raise DataError(f"{path}: {first_file.name} or {file.name} has several frames. Read such files singly.")
    sizes = [tuple(d.get(keyword) for keyword in _SHARED) for d in (first, dataset)]
    if sizes[0] != sizes[1]:
        raise ShapeMismatch(
            f"{path}: rows, columns, samples, colors are {sizes[0]} in {first_file.name} "
            f"but {sizes[1]} in {file.name}; slices of a volume share one grid. Split the series."
        )


def _picture(
    array: np.ndarray, datasets: list[tuple[Path, pydicom.FileDataset]], path: Path, *, is_label: bool
) -> Picture:
    """``array`` [*channel, plane, height, width] in sorted order with its geometry."""
    is_series = is_folder(path)
    axis = 0 if is_label else 1
    with decoding(path, "DICOM geometry", *PYDICOM_ERRORS):
        first = datasets[0][1]
        frames = count_frames(first)
        planes = (
            [plane(first, frame, f"frame {frame + 1}") for frame in range(frames)]
            if frames > 1
            else [plane(dataset, 0, file.name) for file, dataset in datasets]
        )
        placement = place(planes, path, is_series=is_series and frames == 1)
    array = np.take(array, placement.order, axis=axis)
    spacing: tuple[float, ...] | None = placement.spacing
    if frames == 1 and not is_series:
        array, spacing = array.squeeze(axis), planes[0].spacing
    affine = None if placement.affine is None else torch.from_numpy(placement.affine)
    return Picture((label_tensor if is_label else image_tensor)(array, path), spacing, affine)


MEMBER = Dicom
