"""A maker of small DICOM files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = generate_uid(entropy_srcs=["series"])


def make(array: np.ndarray, **attributes: Any) -> FileDataset:
    """A CT-like data set of [height, width], [frame, height, width] or [..., 3] pixels; None deletes an attribute."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.Modality = SERIES, "CT"
    color = array.shape[-1] == 3 and array.dtype == np.uint8
    dataset.SamplesPerPixel = 3 if color else 1
    dataset.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        dataset.PlanarConfiguration = 0
    space = array.shape[:-1] if color else array.shape
    dataset.Rows, dataset.Columns = space[-2:]
    if len(space) == 3:
        dataset.NumberOfFrames = space[0]
    dataset.BitsAllocated = dataset.BitsStored = array.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    """``write_dicom(path, array, Keyword=value, ...) -> path``."""
    return lambda path, array, **attributes: save(make(array, **attributes), path)


@pytest.fixture
def make_dicom() -> Callable[..., FileDataset]:
    """The same, not yet written."""
    return make


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """A folder of axial CT slices at the given positions; slice ``i`` is filled with ``i``; names hide the order."""

    def write(positions: list[float], **attributes: Any) -> Path:
        folder = tmp_path / "series"
        folder.mkdir(exist_ok=True)
        for i, z in enumerate(positions):
            geometry = {
                "ImagePositionPatient": [10.0, 20.0, z],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.5, 0.75],
            }
            name = f"{(i * 7) % 10}{i}.dcm"
            save(make(np.full((4, 6), i, np.int16), **{**geometry, **attributes}), folder / name)
        return folder

    return write
