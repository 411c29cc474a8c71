"""DICOM files as data sets: recognized by content, read whole, listed as the one series of a folder."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from unshift.errors import DataError
from unshift.formats.files import decoding, is_folder, read_bytes, read_head

PYDICOM_ERRORS = (BytesLengthException, InvalidDicomError)
"""Exceptions of pydicom that derive from nothing more special than Exception."""
_FIRST_TAGS = {(0x0002, n) for n in (0, 1, 2, 3, 0x10)} | {(0x0008, n) for n in (0, 1, 5, 8, 0x12, 0x16, 0x18)}


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM: the mark after the preamble or, without one, a first element that fits.

    Args:
        head: at least the first 132 bytes, or the whole file when it is shorter.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 12:
        return False
    named = re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None
    little = struct.unpack("<HH", head[:4]) in _FIRST_TAGS and (named or int.from_bytes(head[4:8], "little") <= 256)
    return little or (struct.unpack(">HH", head[:4]) in _FIRST_TAGS and named)


def read_dataset(path: Path) -> pydicom.FileDataset:
    """The whole file.

    Raises:
        DataError: missing, empty, damaged, or not DICOM.
    """
    data = read_bytes(path)
    if not is_dicom(data[:512]):
        raise DataError(f"{path}: content is not DICOM. Correct its name, or leave it out of the folder.")
    with decoding(path, "DICOM file", *PYDICOM_ERRORS):
        # ``force`` only concerns the missing preamble: the content was recognized above
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        for element in dataset:  # elements are parsed when first looked at; damage must show here
            assert element.tag is not None
        _complete_meta(dataset)
    return dataset


def series_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, sorted by name; hidden files and DICOMDIR are no part of a series.

    Raises:
        DataError: none; a file that is not DICOM; a folder in the folder; no permission.
    """
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "DICOMDIR")
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}). Check its rights.") from None
    for path in entries:
        if is_folder(path):
            raise DataError(f"{path}: a folder inside a series; one folder holds one series. Give the inner folder.")
        if not is_dicom(read_head(path, 512)):
            raise DataError(f"{path}: not DICOM, in the folder of a series. Move it elsewhere.")
    if not entries:
        raise DataError(f"{folder}: no DICOM file in this folder; a folder is read as one DICOM series. Give a file.")
    return entries


def count_frames(dataset: pydicom.Dataset) -> int:
    """Number of frames; a file that does not say has one."""
    return int(dataset.get("NumberOfFrames") or 1)


def frame_value(dataset: pydicom.Dataset, frame: int, group: str, keyword: str) -> Any:
    """``keyword`` of one frame: from its functional groups, else from the shared ones, else None.

    The only frame of a file may also state it at top level; of several frames that would not be a value of each.

    Args:
        frame: 0-based.
        group: functional group that holds it, for example ``PlanePositionSequence``.
    """
    for item in (*dataset.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1], *_shared(dataset)):
        for macro in item.get(group) or []:
            if macro.get(keyword) is not None:
                return macro.get(keyword)
    return dataset.get(keyword) if count_frames(dataset) == 1 else None


def _shared(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    return list(dataset.get("SharedFunctionalGroupsSequence") or [])


def _complete_meta(dataset: pydicom.FileDataset) -> None:
    """Files without meta information are uncompressed; pydicom has found out how they are encoded."""
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
