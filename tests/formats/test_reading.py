from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from unshift.discover import load
from unshift.errors import DataError
from unshift.formats.reading import format_for, read_image, read_label_map


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("a.png", "photo"),
        ("a.JPG", "photo"),
        ("a.b.Tiff", "photo"),
        ("a.bmp", "photo"),
        ("a.nii", "nifti"),
        ("a.NII.GZ", "nifti"),
        ("a.dcm", "dicom"),
        ("a.IMA", "dicom"),
    ],
)
def test_the_ending_chooses(tmp_path: Path, name: str, member: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert type(format_for(tmp_path / name)) is load("formats", member)


def test_folders_and_content_choose_dicom(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    for name in ("IM0001", "1.2.840.113619"):
        path = write_dicom(tmp_path / name, np.full((3, 4), 7, np.int16))
        assert read_image(path).array.unique().tolist() == [7]
        assert read_label_map(path).array.unique().tolist() == [7]
    assert type(format_for(tmp_path)) is load("formats", "dicom")


def test_images_and_label_maps(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 4), 51, np.uint8)).save(tmp_path / "a.png")
    nib.save(nib.Nifti1Image(np.full((3, 4, 5), 2, np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    assert read_image(tmp_path / "a.png").array.unique().tolist() == pytest.approx([0.2])
    assert read_label_map(tmp_path / "a.png").array.unique().tolist() == [51]
    assert read_image(tmp_path / "a.nii.gz").array.shape == (1, 5, 4, 3)
    assert read_label_map(tmp_path / "a.nii.gz").spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["a.txt", "a", ".png", "a.gz", "a.mha"])
def test_unknown_kinds_list_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"some text that is long enough to look at")
    with pytest.raises(
        DataError, match=r"content are of no known kind; .*\.nii\.gz.* DICOM files and folders|PNG, JPEG"
    ):
        read_image(tmp_path / name)


def test_resource_forks_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "._a.png").write_bytes(b"\x00\x05\x16\x07" + b"\0" * 100)
    with pytest.raises(DataError, match=r"\._a.png: a hidden file that macOS writes"):
        read_image(tmp_path / "._a.png")
