"""A DICOM series and its PNG files on one grid, in the order of positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from public_packages import GREY, save, scan, write_series
from unshift.datasets.chaos_series import check_counts, ground, read_series
from unshift.errors import DataError, ShapeMismatch


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    array, labels = scan("MR", 1)
    write_series(tmp_path, array.transpose(0, 2, 1), labels.transpose(0, 2, 1))
    return tmp_path


def parts(patient: Path) -> tuple[Path, Path]:
    return patient / "DICOM_anon", patient / "Ground"


def test_slices_and_grey_levels_belong_together(patient: Path) -> None:
    """Files go from the head to the feet, the volume from the feet to the head."""
    array, labels = (a.transpose(1, 0, 2)[::-1] for a in scan("MR", 1))  # [slice upward, row, column]
    image, grey, problems = read_series(*parts(patient))
    assert problems == [] and image.spacing == (5.0, 4.0, 4.0)
    assert np.array_equal(image.array[0].numpy(), np.clip(array, 0, None))
    assert np.array_equal(grey.numpy(), GREY[labels]) and check_counts(*parts(patient)) == []


def test_other_names_are_paired_by_their_numbers_with_a_warning(patient: Path) -> None:
    before = read_series(*parts(patient))[1]
    for path in ground(patient / "Ground"):
        path.rename(path.with_name(f"liver_GT_{int(path.stem[-5:]):d}.png"))  # …_2 before …_10
    _, grey, (problem,) = read_series(*parts(patient))
    assert torch.equal(grey, before) and (problem.kind, problem.severity) == ("paired by order", "warning")


def test_a_missing_slice_is_found_by_count_and_by_position(patient: Path) -> None:
    images, labels = parts(patient)
    (images / "IMG-0002-00005.dcm").unlink()
    (problem,) = check_counts(images, labels)
    assert problem.kind == "other number of slices" and "12 PNG file(s)" in problem.what and "11 DICOM" in problem.what
    with pytest.raises(DataError, match="12 PNG files for 11 slices|mm apart"):
        read_series(images, labels)
    (labels / "IMG-0002-00005.png").unlink()
    assert check_counts(images, labels) == []
    with pytest.raises(DataError, match="10 mm apart, others 5 mm"):
        read_series(images, labels)


def test_another_size_and_a_missing_folder(patient: Path) -> None:
    save(patient / "Ground" / "IMG-0002-00003.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(ShapeMismatch, match=r"IMG-0002-00003.png: is 4×4 but its slice is 16×16"):
        read_series(*parts(patient))
    (problem,) = check_counts(patient / "DICOM_anon", patient / "gone")
    assert (problem.kind, problem.file.name) == ("missing folder", "gone")
