from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from unshift.errors import DataError
from unshift.formats.dicom_files import count_frames, frame_value, is_dicom, read_dataset, series_files

PIXELS = np.arange(24, dtype=np.int16).reshape(4, 6)


def bundled(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


@pytest.mark.parametrize("name", ["CT_small.dcm", "ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "rtplan.dcm"])
def test_dicom_is_recognized_with_and_without_preamble(name: str) -> None:
    assert is_dicom(bundled(name).read_bytes()[:512])


@pytest.mark.parametrize(
    "head", [b"", b"\x08", b"\x89PNG\r\n\x1a\n" + b"\0" * 200, b"hello world, this is text", b"\0" * 512]
)
def test_other_content_is_not(head: bytes) -> None:
    assert not is_dicom(head)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble_reads(tmp_path: Path, write_dicom: Callable[..., Path], implicit: bool) -> None:
    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    dataset = read_dataset(path)
    bare = Dataset()
    bare.update({element.tag: element for element in dataset})
    bare.save_as(tmp_path / "bare", implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "bare").read_bytes()[128:132] != b"DICM"
    again = read_dataset(tmp_path / "bare")
    assert again.file_meta.TransferSyntaxUID.is_implicit_VR is implicit
    assert np.array_equal(again.pixel_array, PIXELS)


def test_files_of_a_series_are_sorted_and_hidden_ones_ignored(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    expected = [write_dicom(tmp_path / name, PIXELS) for name in ("IM1", "IM2.dcm")]
    for name in (".DS_Store", "._IM1", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"anything")
    assert series_files(tmp_path) == expected


def test_folders_that_are_no_series(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no DICOM file in this folder"):
        series_files(tmp_path)
    write_dicom(tmp_path / "a.dcm", PIXELS)
    (tmp_path / "notes.txt").write_text("a note")
    with pytest.raises(DataError, match="notes.txt: not DICOM, in the folder of a series"):
        series_files(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "inner").mkdir()
    with pytest.raises(DataError, match="inner: a folder inside a series"):
        series_files(tmp_path)


def test_values_of_frames_come_from_groups_then_from_the_only_frame(make_dicom: Callable[..., Dataset]) -> None:
    single = make_dicom(PIXELS, PixelSpacing=[1, 2])
    assert frame_value(single, 0, "PixelMeasuresSequence", "PixelSpacing") == [1, 2]
    several = make_dicom(np.stack([PIXELS, PIXELS]), PixelSpacing=[1, 2])
    assert count_frames(several) == 2 and frame_value(several, 0, "PixelMeasuresSequence", "PixelSpacing") is None
    several.SharedFunctionalGroupsSequence = [Dataset()]
    several.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [Dataset()]
    several.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [3, 4]
    assert frame_value(several, 1, "PixelMeasuresSequence", "PixelSpacing") == [3, 4]
    several.PerFrameFunctionalGroupsSequence = [Dataset(), Dataset()]
    several.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = [Dataset()]
    several.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence[0].PixelSpacing = [5, 6]
    assert frame_value(several, 0, "PixelMeasuresSequence", "PixelSpacing") == [3, 4]
    assert frame_value(several, 1, "PixelMeasuresSequence", "PixelSpacing") == [5, 6]
