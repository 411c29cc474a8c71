"""Photographs and masks as PNG, JPEG, TIFF or BMP; 1 to 16 bits, grey, palette or color.

What a file holds is decided by its content, not by its ending. EXIF orientation is applied to images and label maps
alike. Images: grey gives one channel, everything else three; alpha is dropped without compositing (it is no light that
a camera saw); palettes and CMYK become RGB; 16-bit color keeps all bits; a JPEG with several pictures (MPO) gives its
main one. Label maps keep stored numbers: palette *indices* (the convention of PASCAL-VOC), 2- and 4-bit grey unscaled,
RGB only when its three channels are equal. A JPEG mask is read as decoded; compression invents values near edges,
which the dataset then refuses as labels outside the task.

Photographs carry no mm: spacing and affine are None (resolution tags hold the screen's or printer's dots).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import png
from jaxtyping import Int
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from unshift.contracts import Format, Picture
from unshift.errors import DataError
from unshift.formats.deep_color import png_array, png_header, require_whole_jpeg, require_whole_png, tiff_array, turn
from unshift.formats.files import decoding, read_bytes, write_bytes
from unshift.formats.values import image_tensor, label_tensor, require_size, smallest_integers

_KINDS = ("PNG", "JPEG", "TIFF", "BMP")
_ORIENTATION, _BITS = 0x0112, 258
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WRITERS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


class Photo(Format):
    """Reads PNG, JPEG, TIFF and BMP; writes label maps as PNG, TIFF (to 16 bits) and BMP (8 bits)."""

    suffixes: ClassVar[tuple[str, ...]] = (".jpeg", ".tiff", ".jpg", ".png", ".tif", ".bmp")

    def read_image(self, path: Path) -> Picture:
        """float32 [1 or 3, height, width] in [0, 1].

        Raises:
            DataError: truncated, damaged, several pages, another kind of file, or beyond 179 megapixels.
        """
        array = _decode(path, _displayed)
        return Picture(image_tensor(_fraction(array, path)[..., : _colors(array)].transpose(2, 0, 1), path))

    def read_label_map(self, path: Path) -> Picture:
        """int64 [height, width], the values as stored.

        Raises:
            DataError: as for images; a color mask whose channels differ.
        """
        array = _decode(path, _stored)
        array = array[..., : _colors(array)]
        if (array != array[..., :1]).any():
            raise DataError(
                f"{path}: a color picture; a label map needs one number per pixel (grey, palette, or RGB with three "
                "equal channels). Map its colors to labels and save it as grey PNG."
            )
        return Picture(label_tensor(array[..., 0], path))

    def write_label_map(self, path: Path, label_map: Int[Tensor, "*space"], *, like: Picture | None = None) -> None:
        """Grey, 8 bits where they suffice, else 16 (PNG, TIFF). These files hold no geometry: ``like`` is not kept.

        Raises:
            DataError: a JPEG (it would change labels), a volume, or labels that the kind of file cannot hold.
        """
        suffix = path.suffix.lower()
        if suffix not in _WRITERS:
            raise DataError(
                f"{path}: {suffix or 'no ending'} cannot hold exact labels; {', '.join(_WRITERS)} can. Use .png."
            )
        if label_map.ndim != 2:
            raise DataError(f"{path}: the label map has {label_map.ndim} axes; a picture has 2. Write .nii.gz instead.")
        array = smallest_integers(label_map, path, (np.uint8,) if suffix == ".bmp" else (np.uint8, np.uint16))
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, _WRITERS[suffix])
        write_bytes(path, buffer.getvalue())


def _decode(path: Path, convert: Callable[[Image.Image, int], np.ndarray]) -> np.ndarray:
    """[height, width, 1 … 4] upright; ``convert`` takes what Pillow decodes and its bits. All damage is an error."""
    data = read_bytes(path)
    with decoding(path, "PNG, JPEG, TIFF or BMP picture", Image.DecompressionBombError, png.Error):
        array = _decode_deep(data, path)
        if array is None:
            with Image.open(io.BytesIO(data), formats=_KINDS) as image:
                _require_one_page(image, path)
                array = convert(ImageOps.exif_transpose(image), _bits(image, data))
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] > 4:
        raise DataError(f"{path}: {array.shape[2:]} channels; a picture has 1 to 4. Save its channels singly.")
    return array


def _decode_deep(data: bytes, path: Path) -> np.ndarray | None:
    """What Pillow would not decode to all bits; None for the rest, after a check that the file is whole."""
    if data.startswith(_TIFF):
        return tiff_array(data, path)
    if data.startswith(_JPEG):
        require_whole_jpeg(data, path)
    if not data.startswith(_PNG):
        return None
    require_whole_png(data, path)
    header = png_header(data)
    require_size(header.width * header.height, path)
    if not header.is_deep_color:
        return None
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return turn(png_array(data), image.getexif().get(_ORIENTATION, 1))


def _displayed(image: Image.Image, _: int) -> np.ndarray:
    """What is seen: grey or RGB(A), stored type kept."""
    if image.mode in ("P", "PA"):  # by way of alpha, because a palette with transparency warns on the straight way
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "RGBX"):
        image = image.convert("RGB")
    return np.asarray(image)


def _stored(image: Image.Image, bits: int) -> np.ndarray:
    """The numbers in the file; Pillow's scaling of 2- and 4-bit grey to 0 … 255 is undone."""
    if image.mode in ("CMYK", "LAB"):
        raise ValueError(f"{image.mode} colors, a label map is grey, palette or RGB")
    array = np.asarray(image)
    if image.mode == "PA":
        return array[..., :1]
    return array // (255 // (2**bits - 1)) if image.mode == "L" and bits in (2, 4) else array


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits per channel in the file (BMP is counted as 8: Pillow does not scale it)."""
    if image.format == "PNG":
        return png_header(data).bits
    return int(image.tag_v2.get(_BITS, (1,))[0]) if isinstance(image, TiffImageFile) else 8


def _require_one_page(image: Image.Image, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "MPO":
        raise DataError(f"{path}: {pages} pages; a picture has one. Save the pages singly, or as a NIfTI volume.")


def _colors(array: np.ndarray) -> int:
    """Channels without alpha: 1 of 1 or 2, 3 of 3 or 4."""
    return 1 if array.shape[-1] < 3 else 3


def _fraction(array: np.ndarray, path: Path) -> np.ndarray:
    """Stored numbers as fractions of the largest that their type holds; floats must be in [0, 1] already."""
    if array.dtype == bool:
        return array
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype.kind == "f" and np.nanmin(array, initial=0) >= 0 and np.nanmax(array, initial=0) <= 1:
        return array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return array  # counted and refused by the caller
    raise DataError(
        f"{path}: {array.dtype} values {array.min()} … {array.max()}; a photograph has 8 or 16 unsigned bits, or "
        "floats in 0 … 1. Convert it, or store measured quantities as NIfTI."
    )


MEMBER = Photo
