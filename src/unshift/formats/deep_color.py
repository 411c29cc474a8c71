"""What Pillow would cut to 8 bits or not verify: 16-bit color PNG and TIFF, and that PNG, JPEG and TIFF are whole."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import png
import tifffile
from jaxtyping import Shaped, UInt

from unshift.errors import DataError
from unshift.formats.values import require_size

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length: TEM, restarts, start of image
_ORIENTATION = 0x0112
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class PngHeader:
    """The first chunk of a PNG file."""

    width: int
    height: int
    bits: int
    color: int

    @property
    def is_deep_color(self) -> bool:
        """16 bits and more than one channel: Pillow keeps 8 of them."""
        return self.bits == 16 and self.color != 0


def png_header(data: bytes) -> PngHeader:
    """Size, bit depth and color type. Raises struct.error when the data ends before."""
    return PngHeader(*struct.unpack(">IIBB", data[16:26]))


def require_whole_png(data: bytes, path: Path) -> None:
    """Walk over all chunks and compare each checksum; Pillow skips those of the pixels.

    Raises:
        DataError: a checksum is wrong, or the file ends before its end chunk.
    """
    place, kind = 8, b""
    while kind != b"IEND":
        size = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + size
        if end + 4 > len(data):
            raise DataError(f"{path}: PNG ends after {len(data)} bytes, inside a chunk. Copy it again from its source.")
        kind = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end]).to_bytes(4, "big") != data[end : end + 4]:
            raise DataError(f"{path}: checksum of PNG chunk {kind!r} is wrong: the file is damaged. Copy it again.")
        place = end + 4


def require_whole_jpeg(data: bytes, path: Path) -> None:
    """Walk over all segments and scans to the end marker; where pixels are missing, Pillow may fill in grey.

    What cannot be seen is a file whose scan was cut short and then closed by an end marker.

    Raises:
        DataError: the end marker is missing, as in files cut short or padded with zeros by an interrupted copy.
    """
    place = 2
    while (found := _JPEG_MARKER.search(data, place)) is not None:
        marker, place = data[found.end() - 1], found.end()
        if marker == 0xD9:
            return
        if marker not in _JPEG_BARE:
            place += int.from_bytes(data[place : place + 2], "big")
    raise DataError(f"{path}: JPEG without its end marker in {len(data)} bytes; it is truncated. Copy it again.")


def png_array(data: bytes) -> UInt[np.ndarray, "height width channel"]:
    """All 16 bits of every channel (grey+alpha, RGB or RGBA)."""
    width, height, rows, info = png.Reader(bytes=data).asDirect()
    return np.vstack([np.asarray(row, dtype=np.uint16) for row in rows]).reshape(height, width, info["planes"])


def tiff_array(data: bytes, path: Path) -> Shaped[np.ndarray, "height width channel"] | None:
    """Upright pixels of a TIFF of which Pillow would lose bits (several deep channels, 64-bit floats), else None.

    Raises:
        DataError: several pages; truncated; unusual colors; a compression that needs a package not installed.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if len(file.pages) != 1:
            raise DataError(f"{path}: {len(file.pages)} pages; a picture has one. Save the pages singly, or as NIfTI.")
        page = file.pages.first
        require_size(page.imagewidth * page.imagelength, path)
        _require_whole_tiff(page, data, path)
        if page.samplesperpixel > 4:
            raise DataError(
                f"{path}: {page.samplesperpixel} channels; a picture has 1 to 4 (grey or RGB, with or without alpha). "
                "Leave out those that are not needed, or save it as NIfTI with a channel axis, or as nnU-Net does, one "
                "file for each channel."
            )
        if not _is_deep(page):
            return None
        if page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            kind = tifffile.PHOTOMETRIC(page.photometric).name
            raise DataError(f"{path}: {kind} colors of {page.dtype}; grey or RGB is required. Convert its colors.")
        try:
            array = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            kind = tifffile.COMPRESSION(page.compression).name
            raise DataError(
                f"{path}: {page.dtype} TIFF with {kind} compression, for which no decoder is installed. "
                "Do pip install imagecodecs, or save it without compression."
            ) from None
        separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
        return turn(np.moveaxis(array, 0, -1) if separate else array, page.tags.valueof(_ORIENTATION, 1))


def turn(array: Shaped[np.ndarray, "height width *channel"], orientation: int) -> Shaped[np.ndarray, "a b *channel"]:
    """``array`` as it should be seen, by the EXIF or TIFF orientation 1 … 8; other numbers mean upright."""
    return _TURNS.get(orientation, np.asarray)(array)


def _is_deep(page: tifffile.TiffPage) -> bool:
    if page.dtype is None:
        return False
    inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return page.dtype.itemsize > 4 or (page.dtype.itemsize > 1 and (page.samplesperpixel > 1 or inverted))


def _require_whole_tiff(page: tifffile.TiffPage, data: bytes, path: Path) -> None:
    """Strips that lie beyond the end would be read as zeros."""
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if not 0 < end <= len(data) or 0 in page.databytecounts:
        raise DataError(f"{path}: TIFF pixels reach to byte {end} of {len(data)}; it is truncated. Copy it again.")
