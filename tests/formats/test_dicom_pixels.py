from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import MPEG2MPML, HTJ2KLossless

from unshift.errors import DataError
from unshift.formats.dicom_files import read_dataset
from unshift.formats.dicom_pixels import image_frames, stored_frames

RNG = np.random.default_rng(3)
PATH = Path("x.dcm")
STORED = RNG.integers(0, 4096, (4, 6), dtype=np.uint16)
Make = Callable[..., Dataset]


def bundled(name: str) -> Dataset:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return read_dataset(Path(path))


def test_rescale_gives_units(make_dicom: Make) -> None:
    dataset = make_dicom(STORED, BitsStored=12, RescaleSlope=2, RescaleIntercept=-1024)
    np.testing.assert_array_equal(image_frames(dataset, PATH)[0, 0], STORED * 2.0 - 1024)
    np.testing.assert_array_equal(stored_frames(dataset, PATH)[0, ..., 0], STORED)


def test_monochrome1_is_inverted_within_its_bits(make_dicom: Make) -> None:
    dataset = make_dicom(STORED, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(image_frames(dataset, PATH)[0, 0], 4095.0 - STORED)
    signed = make_dicom(np.array([[-32768, 0, 32767]], np.int16), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(image_frames(signed, PATH)[0, 0], [[32767, -1, -32768]])


@pytest.mark.parametrize(("modality", "top"), [("US", 255), ("ES", 255), ("OT", 255), ("CT", 1), ("MR", 1), ("CR", 1)])
def test_brightness_becomes_a_fraction_and_measurements_keep_units(make_dicom: Make, modality: str, top: int) -> None:
    array = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    result = image_frames(make_dicom(array, Modality=modality), PATH)[0, 0]
    np.testing.assert_allclose(result, array / top, rtol=1e-6)


def test_a_rescale_of_ultrasound_is_a_unit(make_dicom: Make) -> None:
    array = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    dataset = make_dicom(array, Modality="US", RescaleSlope=0.5, RescaleIntercept=1)
    np.testing.assert_allclose(image_frames(dataset, PATH)[0, 0], array * 0.5 + 1)


def test_rgb_and_planes(make_dicom: Make) -> None:
    color = RNG.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    result = image_frames(make_dicom(color, Modality="US"), PATH)
    np.testing.assert_allclose(result, color.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    planar = make_dicom(color, Modality="US", PlanarConfiguration=1, PixelData=color.transpose(0, 3, 1, 2).tobytes())
    np.testing.assert_array_equal(image_frames(planar, PATH), result)


def test_ybr_is_converted_by_the_standards_equation(make_dicom: Make) -> None:
    """PS3.3 C.7.6.3.1.2: R = Y + 1.402 (Cr - 128), and so on."""
    ybr = RNG.integers(100, 156, (1, 4, 6, 3), dtype=np.uint8)
    y, cb, cr = np.moveaxis(ybr[0].astype(float), -1, 0)
    expected = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    )
    result = image_frames(make_dicom(ybr[0], Modality="US", PhotometricInterpretation="YBR_FULL"), PATH)[0]
    np.testing.assert_allclose(result * 255, expected, atol=1.01)


def test_palette_is_looked_up(make_dicom: Make) -> None:
    indices = np.array([[0, 1], [2, 3]], np.uint8)
    tables = {"Red": [0, 255, 10, 20], "Green": [5, 6, 7, 8], "Blue": [255, 0, 100, 200]}
    dataset = make_dicom(indices, Modality="US", PhotometricInterpretation="PALETTE COLOR")
    for color, table in tables.items():
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(dataset, f"{color}PaletteColorLookupTableData", bytes(table))
    expected = np.stack([np.array(table)[indices] for table in tables.values()]) / 255
    np.testing.assert_allclose(image_frames(dataset, PATH)[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(stored_frames(dataset, PATH)[0, ..., 0], indices)


def test_rescale_of_each_frame(make_dicom: Make) -> None:
    frames = RNG.integers(0, 100, (3, 4, 6), dtype=np.uint16)
    dataset = make_dicom(frames, Modality="PT")
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(3)]
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item.PixelValueTransformationSequence = [Dataset()]
        item.PixelValueTransformationSequence[0].RescaleSlope = i + 1
        item.PixelValueTransformationSequence[0].RescaleIntercept = -i
    expected = frames * np.array([1, 2, 3.0])[:, None, None] - np.array([0, 1, 2.0])[:, None, None]
    np.testing.assert_allclose(image_frames(dataset, PATH)[:, 0], expected)


def test_modality_lut_is_looked_up(make_dicom: Make) -> None:
    dataset = make_dicom(np.array([[0, 1], [2, 2]], np.uint8), Modality="CR")
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData, lut.ModalityLUTType = [3, 0, 16], [100, 300, 900], "US"
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
    dataset.ModalityLUTSequence = [lut]
    np.testing.assert_array_equal(image_frames(dataset, PATH)[0, 0], [[100, 300], [900, 900]])


@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"]
)
def test_one_image_in_several_encodings(name: str) -> None:
    np.testing.assert_array_equal(image_frames(bundled(name), PATH), image_frames(bundled("MR_small.dcm"), PATH))


def test_a_truncated_file_is_refused() -> None:
    with pytest.raises(DataError, match=r"x.dcm: .*pixel data is less than expected \(8130 vs 8192"):
        image_frames(bundled("MR_truncated.dcm"), PATH)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtplan.dcm", r"no pixel data \(modality RTPLAN\)"),
        ("test-SR.dcm", r"no pixel data \(modality SR\)"),
        ("liver_1frame.dcm", r"a segmentation \(SEG\), which is no image"),
        ("rtdose.dcm", r"a dose \(RTDOSE\), which is no image"),
    ],
)
def test_objects_that_are_no_images(name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        image_frames(bundled(name), PATH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Rows": 40}, "less than expected"),
        ({"Rows": None}, "Rows"),
        ({"Rows": 60000, "Columns": 60000}, "announces 3600 megapixels"),
        ({"BitsAllocated": 12}, "Bits Allocated"),
        ({"PhotometricInterpretation": "HSV"}, "colors are HSV; one of"),
        ({"PixelRepresentation": None}, "Pixel Representation"),
    ],
)
def test_damaged_headers(make_dicom: Make, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        image_frames(make_dicom(STORED, **change), PATH)


@pytest.mark.parametrize(
    "words", ["compressed as High-Throughput JPEG 2000 .* no decoder for it is installed. Do pip install"]
)
def test_a_missing_decoder_says_what_to_install(make_dicom: Make, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dicom(STORED)
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
    monkeypatch.setattr(type(pydicom.pixels.get_decoder(HTJ2KLossless)), "is_available", property(lambda _: False))
    with pytest.raises(DataError, match=words):
        image_frames(dataset, PATH)


def test_video_cannot_be_decoded(make_dicom: Make) -> None:
    dataset = make_dicom(STORED)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(DataError, match="x.dcm: MPEG2 .* cannot be decoded"):
        image_frames(dataset, PATH)
