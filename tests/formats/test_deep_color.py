from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageOps

from unshift.errors import DataError
from unshift.formats.deep_color import png_array, png_header, require_whole_jpeg, require_whole_png, tiff_array, turn

RNG = np.random.default_rng(0)
PATH = Path("x.tif")


def saved_png(array: np.ndarray, **options: bool | int) -> bytes:
    buffer = io.BytesIO()
    png.Writer(array.shape[1], array.shape[0], **options).write(buffer, array.reshape(array.shape[0], -1).tolist())
    return buffer.getvalue()


def saved_tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("channels", "grey", "alpha"), [(3, False, False), (4, False, True), (2, True, True)])
def test_png_keeps_all_16_bits(channels: int, grey: bool, alpha: bool) -> None:
    array = RNG.integers(0, 2**16, (5, 7, channels), dtype=np.uint16)
    data = saved_png(array, greyscale=grey, alpha=alpha, bitdepth=16)
    assert png_header(data).is_deep_color and (png_header(data).width, png_header(data).height) == (7, 5)
    assert np.array_equal(png_array(data), array)


def test_gray_of_16_bits_is_left_to_pillow() -> None:
    assert not png_header(saved_png(np.zeros((2, 2), int), greyscale=True, bitdepth=16)).is_deep_color


def test_every_flipped_bit_of_a_png_chunk_is_found() -> None:
    data = saved_png(RNG.integers(0, 256, (6, 6)), greyscale=True, bitdepth=8)
    require_whole_png(data, PATH)
    for place in range(16, len(data) - 16, 3):
        damaged = bytearray(data)
        damaged[place] ^= 4
        with pytest.raises(DataError, match=r"x.tif: (checksum of PNG chunk|PNG ends after)"):
            require_whole_png(bytes(damaged), PATH)


def test_every_cut_of_a_png_is_found() -> None:
    data = saved_png(RNG.integers(0, 256, (6, 6)), greyscale=True, bitdepth=8)
    for size in range(8, len(data)):
        with pytest.raises(DataError, match=f"PNG ends after {size} bytes"):
            require_whole_png(data[:size], PATH)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"comment": b"\xff\xd9"}])
def test_every_cut_of_a_jpeg_is_found_with_and_without_zeros(options: dict[str, object]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    require_whole_jpeg(data, PATH)
    require_whole_jpeg(data + b"what a vendor appended", PATH)
    for size in range(3, len(data), 7):
        for tail in (b"", bytes(len(data) - size)):
            with pytest.raises(DataError, match="x.tif: JPEG without its end marker"):
                require_whole_jpeg(data[:size] + tail, PATH)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_tiff_keeps_all_16_bits(options: dict[str, str]) -> None:
    array = RNG.integers(0, 2**16, (5, 7, 3), dtype=np.uint16)
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in options else array
    result = tiff_array(saved_tiff(stored, photometric="rgb", **options), PATH)
    assert result is not None and np.array_equal(result, array)


def test_tiffs_that_pillow_reads_in_full_are_left_to_it() -> None:
    for array in (np.zeros((3, 4), np.uint16), np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4), np.float32)):
        assert tiff_array(saved_tiff(array), PATH) is None


@pytest.mark.parametrize("orientation", range(1, 10))
def test_turning_equals_pillow(orientation: int) -> None:
    array = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(turn(array, orientation), np.asarray(ImageOps.exif_transpose(image)))
    deep = array.astype(np.uint16) * 257
    tagged = saved_tiff(deep, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    result = tiff_array(tagged, PATH)
    assert result is not None and np.array_equal(result, turn(deep, orientation))


def test_tiffs_that_are_refused() -> None:
    with pytest.raises(DataError, match="x.tif: 2 pages; a picture has one"):
        tiff_array(saved_tiff(np.zeros((2, 4, 4), np.uint8), photometric="minisblack"), PATH)
    whole = saved_tiff(RNG.integers(0, 9, (40, 40, 3), dtype=np.uint16), photometric="rgb")
    with pytest.raises(DataError, match="TIFF pixels reach to byte .* truncated"):
        tiff_array(whole[:-30], PATH)
    with pytest.raises(DataError, match="SEPARATED colors of uint16; grey or RGB is required"):
        tiff_array(saved_tiff(np.zeros((4, 4, 4), np.uint16), photometric="separated"), PATH)


def test_a_compression_without_decoder_says_what_to_install() -> None:
    data = bytearray(saved_tiff(np.zeros((4, 4, 3), np.uint16), photometric="rgb", compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        place = file.pages.first.tags[259].valueoffset
    data[place : place + 2] = (50001).to_bytes(2, "little")  # WebP
    with pytest.raises(
        DataError, match="WEBP compression, for which no decoder is installed. Do pip install imagecodecs"
    ):
        tiff_array(bytes(data), PATH)
