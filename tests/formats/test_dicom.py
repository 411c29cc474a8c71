from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from unshift.discover import load
from unshift.errors import DataError, ShapeMismatch
from unshift.formats.dicom import MEMBER

DICOM = MEMBER()
AXIAL = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.75]}
Write = Callable[..., Path]


def bundled(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def test_a_series_is_sorted_by_position(write_series: Write) -> None:
    picture = DICOM.read_image(write_series([4.0, 0.0, 2.0, 6.0], RescaleIntercept=-1000, RescaleSlope=1))
    assert picture.array.shape == (1, 4, 4, 6) and picture.array.dtype == torch.float32
    assert picture.array[0, :, 0, 0].tolist() == [-999, -998, -1000, -997]
    assert picture.spacing == (2.0, 0.5, 0.75)
    assert picture.affine is not None and picture.affine.dtype == torch.float64
    np.testing.assert_allclose(picture.affine @ torch.tensor([3, 1, 2, 1.0]).double(), [-11.5, -20.5, 6, 1])
    assert DICOM.read_label_map(write_series([4.0, 0.0, 2.0, 6.0])).array[:, 0, 0].tolist() == [1, 2, 0, 3]


def test_a_flat_picture(tmp_path: Path, write_dicom: Write) -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 6)
    picture = DICOM.read_image(write_dicom(tmp_path / "a", array, ImagePositionPatient=[1, 2, 3], **AXIAL))
    np.testing.assert_array_equal(picture.array.numpy()[0], array)
    assert picture.spacing == (0.5, 0.75)
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine @ torch.tensor([0, 2, 3, 1.0]).double(), [-3.25, -3, 3, 1])


@pytest.mark.filterwarnings("ignore:(?s).*DICOM readers are highly experimental")
def test_affine_equals_nibabel() -> None:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    picture, wrapper = DICOM.read_image(bundled("MR_small.dcm")), wrapper_from_file(bundled("MR_small.dcm"))
    np.testing.assert_array_equal(picture.array.numpy()[0], wrapper.get_data().squeeze())
    # the wrapper's array is [row, column]; its affine is LPS+
    expected = np.diag([-1, -1, 1, 1]) @ wrapper.affine[:, [2, 0, 1, 3]]
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine.numpy()[:, 1:], expected[:, 1:], atol=1e-6)


def test_one_file_in_a_folder_is_a_volume(write_series: Write) -> None:
    picture = DICOM.read_image(write_series([4.0], SliceThickness=5))
    assert picture.array.shape == (1, 1, 4, 6) and picture.spacing == (5.0, 0.5, 0.75)


def test_frames_of_an_enhanced_file_are_sorted(tmp_path: Path, make_dicom: Callable[..., Dataset]) -> None:
    frames = np.arange(3, dtype=np.uint16)[:, None, None] * np.ones((3, 4, 6), np.uint16)
    dataset = make_dicom(frames, Modality="MR")
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = AXIAL["ImageOrientationPatient"]
    shared.PixelMeasuresSequence[0].PixelSpacing = AXIAL["PixelSpacing"]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(3)]
    for item, z in zip(dataset.PerFrameFunctionalGroupsSequence, [3, 6, 0], strict=True):
        item.PlanePositionSequence = [Dataset()]
        item.PlanePositionSequence[0].ImagePositionPatient = [0, 0, z]
    dataset.save_as(tmp_path / "a.dcm")
    picture = DICOM.read_image(tmp_path / "a.dcm")
    assert picture.array[0, :, 0, 0].tolist() == [2, 0, 1]
    assert picture.spacing == (3.0, 0.5, 0.75) and picture.affine is not None


def test_a_colored_cine_loop_keeps_its_order(tmp_path: Path, write_dicom: Write) -> None:
    color = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    picture = DICOM.read_image(write_dicom(tmp_path / "a.dcm", color, Modality="US", PixelSpacing=[0.1, 0.1]))
    np.testing.assert_allclose(picture.array.numpy(), color.transpose(3, 0, 1, 2) / 255, rtol=1e-6)
    assert picture.spacing is None and picture.affine is None  # nobody knows the mm from one time to the next
    single = DICOM.read_image(write_dicom(tmp_path / "b.dcm", color[0], Modality="US", PixelSpacing=[0.1, 0.1]))
    assert single.array.shape == (3, 4, 6) and single.spacing == (0.1, 0.1)


def test_mixed_series_are_named(tmp_path: Path, write_series: Write, write_dicom: Write) -> None:
    folder = write_series([0.0, 2.0])
    stray = folder / "stray.dcm"
    array = np.zeros((4, 6), np.int16)
    place = {"ImagePositionPatient": [10, 20, 4], **AXIAL}
    write_dicom(stray, array, SeriesInstanceUID="1.2.3", **place)
    with pytest.raises(DataError, match="series: 00.dcm and stray.dcm are of different series"):
        DICOM.read_image(folder)
    write_dicom(stray, np.zeros((4, 8), np.int16), **place)
    with pytest.raises(ShapeMismatch, match=r"are \(4, 6, 1, 'MONOCHROME2'\) in 00.dcm but \(4, 8, 1"):
        DICOM.read_image(folder)
    write_dicom(stray, np.zeros((2, 4, 6), np.int16), **place)
    with pytest.raises(DataError, match="00.dcm or stray.dcm has several frames"):
        DICOM.read_image(folder)
    write_dicom(stray, array, **place)
    assert DICOM.read_image(folder).array.shape == (1, 3, 4, 6)


def test_bundled_series_of_pydicom() -> None:
    folder = bundled("CT_small.dcm").parent / "dicomdirtests" / "98892001" / "CT5N"
    picture = DICOM.read_image(folder)
    assert picture.array.shape == (1, 5, 16, 16) and picture.affine is not None
    lengths = np.linalg.norm(picture.affine.numpy()[:3, :3], axis=0)
    assert picture.spacing == pytest.approx(lengths)


def test_label_maps_are_stored_numbers(tmp_path: Path, write_dicom: Write) -> None:
    array = np.array([[0, 1], [2, 7]], np.uint8)
    path = write_dicom(
        tmp_path / "a.dcm", array, Modality="OT", RescaleSlope=3, PhotometricInterpretation="MONOCHROME1"
    )
    assert DICOM.read_label_map(path).array.tolist() == array.tolist()
    color = write_dicom(tmp_path / "b.dcm", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match="b.dcm: a color image; a label map has one channel"):
        DICOM.read_label_map(color)


def test_label_maps_go_to_nifti_with_the_same_geometry(tmp_path: Path, write_series: Write) -> None:
    folder = write_series([0.0, 2.0, 4.0])
    picture = DICOM.read_image(folder)
    label_map = torch.ones(3, 4, 6, dtype=torch.int64)
    with pytest.raises(DataError, match=r"a.dcm: label maps are not written as DICOM; .* Use .nii.gz"):
        DICOM.write_label_map(tmp_path / "a.dcm", label_map, like=picture)
    load("formats", "nifti")().write_label_map(tmp_path / "a.nii.gz", label_map, like=picture)
    written = nib.load(tmp_path / "a.nii.gz")
    assert picture.affine is not None
    np.testing.assert_allclose(written.affine[:, [2, 1, 0, 3]], picture.affine.numpy(), atol=1e-5)
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")
