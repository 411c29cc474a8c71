"""Damaged, empty and odd inputs: each gives an error that names the file, or reads right. None gives anything else."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from unshift.errors import UnshiftError
from unshift.formats.reading import read_image, read_label_map

RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 2**16, (40, 50, 3), dtype=np.uint16)
CUTS = (1, 10, 60, 200, 400, 0.3, 0.7, 0.95, -20)
"""Bytes kept; shares of the file; bytes taken from its end."""


def picture(kind: str, array: np.ndarray = COLOR, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_tiff() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP, photometric="rgb")
    return buffer.getvalue()


def nifti(array: np.ndarray | None = None) -> bytes:
    array = RNG.integers(0, 999, (8, 9, 10), dtype=np.int16) if array is None else array
    return nib.Nifti1Image(array, np.diag([1.0, 2, 3, 1])).to_bytes()


def dicom(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


ONLY_PADDING_LOST = {("a.dcm", -20), ("rle.dcm", -20)}
"""These two files of pydicom end in over 100 bytes of padding after their pixels."""
WHOLE: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: picture("PNG"),
    "a.jpg": lambda: picture("JPEG"),
    "a.tif": lambda: picture("TIFF"),
    "lzw.tif": lambda: picture("TIFF", compression="tiff_lzw"),
    "deep.tif": deep_tiff,
    "a.bmp": lambda: picture("BMP"),
    "a.nii": nifti,
    "a.nii.gz": lambda: gzip.compress(nifti()),
    "a.dcm": lambda: dicom("MR_small.dcm"),
    "rle.dcm": lambda: dicom("MR_small_RLE.dcm"),
    "jpeg.dcm": lambda: dicom("SC_rgb_jpeg_dcmtk.dcm"),
}


def refused(path: Path, read: Callable[[Path], object] = read_image) -> str:
    with pytest.raises(UnshiftError) as caught:
        read(path)
    assert path.name in str(caught.value) and str(caught.value).count(".") >= 1
    return str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_file_reads(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WHOLE[name]())
    assert read_image(tmp_path / name).array.isfinite().all()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", WHOLE)
def test_truncated(tmp_path: Path, name: str, cut: float) -> None:
    data = WHOLE[name]()
    size = cut if isinstance(cut, int) else int(len(data) * cut)
    (tmp_path / name).write_bytes(data)
    whole = read_image(tmp_path / name).array
    (tmp_path / name).write_bytes(data[:size])
    if (name, cut) in ONLY_PADDING_LOST:
        assert torch.equal(read_image(tmp_path / name).array, whole)
    else:
        refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "lzw.tif", "a.nii.gz", "rle.dcm", "jpeg.dcm"])
def test_second_half_replaced_by_zeros(tmp_path: Path, name: str) -> None:
    """What an interrupted copy leaves; uncompressed files cannot show it, because zeros are pixels there."""
    data = WHOLE[name]()
    (tmp_path / name).write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    refused(tmp_path / name)


@pytest.mark.parametrize("name", WHOLE)
def test_the_right_beginning_and_then_noise(tmp_path: Path, name: str) -> None:
    head = {"a.nii": 8, "a.nii.gz": 10, "a.dcm": 132, "rle.dcm": 132, "jpeg.dcm": 132}.get(name, 8)
    (tmp_path / name).write_bytes(WHOLE[name]()[:head] + RNG.bytes(3000))
    refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.nii", "a.nii.gz", "a.dcm", "noending"])
@pytest.mark.parametrize("content", [b"", b"name,label\n1,2\n" * 50], ids=["empty", "text"])
def test_empty_files_and_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)
    refused(tmp_path / name, read_label_map)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", WHOLE)
def test_single_bytes_changed(tmp_path: Path, name: str, seed: int) -> None:
    """Not every change can be seen; none may end in anything but a finite image or a named error."""
    generator, data = np.random.default_rng(seed), bytearray(WHOLE[name]())
    for place in generator.integers(0, min(len(data), 600 if seed % 2 else len(data)), 3):
        data[place] ^= int(generator.integers(1, 256))
    (tmp_path / name).write_bytes(data)
    try:
        result = read_image(tmp_path / name)
    except UnshiftError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert result.array.isfinite().all() and result.array.numel() > 0


def test_png_with_a_wrong_checksum(tmp_path: Path) -> None:
    data = bytearray(picture("PNG"))
    data[-20] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert "checksum of PNG chunk b'IDAT' is wrong" in refused(tmp_path / "a.png")


def test_gzip_with_a_wrong_checksum(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(nifti()))
    data[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(data)
    assert "CRC check failed" in refused(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite(tmp_path: Path, value: float) -> None:
    array = np.zeros((4, 5, 6))
    array[1, 2, 3] = value
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti(array)))
    assert f"{int(np.isnan(value))} NaN and {int(not np.isnan(value))} infinite" in refused(tmp_path / "a.nii.gz")
    tifffile.imwrite(tmp_path / "a.tif", array[1].astype(np.float64))
    refused(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("offset", "form", "values", "words"),
    [
        (40, "<8h", (3, 32767, 32767, 32767, 1, 1, 1, 1), "it is truncated, or its header is damaged"),
        (40, "<8h", (3, -8, 9, 10, 1, 1, 1, 1), "positive ones are required"),
        (40, "<8h", (3, 0, 9, 10, 1, 1, 1, 1), "positive ones are required"),
        (40, "<h", (1,), "2 to 5 positive ones"),
        (40, "<h", (7,), "2 to 5 positive ones"),
        (70, "<h", (9999,), "not a complete, valid NIfTI file"),
        (70, "<h", (32,), "voxels are complex64; real numbers are required"),
        (108, "<f", (10.0,), "inside the header"),
        (108, "<f", (float("nan"),), "inside the header"),
        (108, "<f", (1e9,), "it is truncated, or its header is damaged"),
        (80, "<3f", (float("nan"), 1.0, 1.0), "finite ones are required"),
        (280, "<4f", (0.0, 0.0, 0.0, 0.0), "the affine is singular or not finite"),
        (280, "<4f", (float("inf"), 0.0, 0.0, 0.0), "the affine is singular or not finite"),
        (123, "<B", (7,), "not a complete, valid NIfTI header"),
        (344, "<4s", (b"\0\0\0\0",), "no 'n\\+1' mark"),
    ],
)
def test_nifti_headers(tmp_path: Path, offset: int, form: str, values: tuple[object, ...], words: str) -> None:
    data = bytearray(nifti())
    struct.pack_into(form, data, offset, *values)
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(UnshiftError, match=f"a.nii: .*{words}"):
        read_image(tmp_path / "a.nii")


def test_a_png_that_announces_ten_gigapixels(tmp_path: Path) -> None:
    data = bytearray(picture("PNG"))
    struct.pack_into(">II", data, 16, 100_000, 100_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    assert "announces 10000 megapixels" in refused(tmp_path / "a.png")


def test_ten_megapixels_and_one_pixel_read(tmp_path: Path) -> None:
    large = np.zeros((2600, 4000), np.uint8)
    large[1300:] = 255
    for name, array in (("large.png", large), ("one.png", np.array([[255]], np.uint8))):
        Image.fromarray(array).save(tmp_path / name)
        result = read_image(tmp_path / name).array
        assert result.shape == (1, *array.shape) and float(result.mean()) == pytest.approx(array.mean() / 255)


@pytest.mark.parametrize(
    "name", ["ünï cødé 图.png", " leading space.png", "two  spaces.PNG", ".hidden.png", "a.b.c.png", "'quote\".png"]
)
def test_odd_names_read(tmp_path: Path, name: str) -> None:
    Image.fromarray(GREY).save(tmp_path / name, format="PNG")
    np.testing.assert_array_equal(read_label_map(tmp_path / name).array.numpy(), GREY)


def test_links(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "real.png")
    for name, target in {
        "good.png": "real.png",
        "loop1.png": "loop2.png",
        "loop2.png": "loop1.png",
        "dangling.png": "gone.png",
    }.items():
        (tmp_path / name).symlink_to(tmp_path / target)
    assert read_image(tmp_path / "good.png").array.shape == (1, 40, 50)
    assert "symbolic links" in refused(tmp_path / "loop1.png")
    assert "a link to something that does not exist" in refused(tmp_path / "dangling.png")


def test_folders_instead_of_files(tmp_path: Path) -> None:
    for name in ("folder.png", "folder"):
        (tmp_path / name).mkdir()
        assert "no DICOM file in this folder" in refused(tmp_path / name)
    (tmp_path / "self").symlink_to(tmp_path)
    assert "a folder inside a series" in refused_in(tmp_path / "self")


def refused_in(path: Path) -> str:
    with pytest.raises(UnshiftError) as caught:
        read_image(path)
    return str(caught.value)


WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path
from unshift.errors import UnshiftError
from unshift.formats.reading import read_image
read_image(Path(sys.argv[1]))  # imports all that is needed while it may
if os.getuid() == 0:  # root reads everything, so it becomes nobody
    os.setgid(65534)
    os.setuid(65534)
for name in sys.argv[2:]:
    try:
        read_image(Path(name))
        print("was read")
    except UnshiftError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are POSIX")
def test_without_permission() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path itself is closed to others
        base = Path(name)
        base.chmod(0o755)
        for path in ("file.png", "locked/inside.png", "good.png"):
            (base / path).parent.mkdir(exist_ok=True)
            Image.fromarray(GREY).save(base / path)
        (base / "file.png").chmod(0)
        (base / "locked").chmod(0)
        wanted = [base / "good.png", base / "file.png", base / "locked" / "inside.png", base / "locked"]
        command = [sys.executable, "-c", WITHOUT_RIGHTS, str(base / "good.png"), *map(str, wanted)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        (base / "locked").chmod(0o755)
    first, *others = done.stdout.splitlines()
    assert first == "was read"
    assert len(others) == 3
    for path, message in zip(wanted[1:], others, strict=True):
        assert path.name in message and "Permission denied" in message
