"""What every array must satisfy, whichever file it came from: finite images, whole-number labels, a plausible size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from unshift.errors import DataError

MOST_PIXELS = 178_956_970
"""Largest picture or slice that is decoded (Pillow's own limit); more is a decompression bomb or a slide scan."""
_EXACT = 2**53  # beyond it float64 skips whole numbers


def image_tensor(array: Shaped[np.ndarray, "channel *space"], path: Path) -> Float[Tensor, "channel *space"]:
    """A float32 copy.

    Raises:
        DataError: a value is NaN, infinite or too large for float32 (the message counts them), or there is no pixel.
    """
    _require_pixels(array, path)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array(array, dtype=np.float32, order="C")
    _require_finite(values, path)
    return torch.from_numpy(values)


def label_tensor(array: Shaped[np.ndarray, "*space"], path: Path) -> Int[Tensor, "*space"]:
    """An int64 copy of the stored values; floats within 0.001 of a whole number are rounded to it.

    Raises:
        DataError: a value is NaN, infinite or between whole numbers (the message says how many and which).
    """
    _require_pixels(array, path)
    if array.dtype.kind == "f":
        _require_finite(array, path)
        rounded = np.rint(array)
        broken = np.abs(array - rounded) > 1e-3
        if broken.any():
            raise DataError(
                f"{path}: {int(broken.sum())} label(s) are not whole numbers, for example "
                f"{float(array[broken].flat[0]):g}; labels must be integers. Resample label maps with order 0."
            )
        array = rounded
    elif array.dtype.kind not in "biu":
        raise DataError(f"{path}: labels are of type {array.dtype}; integers are required. Save the file as integers.")
    if array.dtype.kind != "b" and max(int(array.max()), -int(array.min())) > _EXACT:
        raise DataError(f"{path}: labels beyond ±2^53; such numbers are no labels. Check the file.")
    return torch.from_numpy(np.array(array, dtype=np.int64, order="C"))


def smallest_integers(
    label_map: Int[Tensor, "*space"], path: Path, types: tuple[type[np.integer], ...]
) -> Int[np.ndarray, "*space"]:
    """``label_map`` in the first of ``types`` that holds all its values.

    Raises:
        DataError: none does, or there is no pixel.
    """
    values = label_map.detach().cpu().numpy()
    _require_pixels(values, path)
    low, high = int(values.min()), int(values.max())
    for kind in types:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    names = ", ".join(np.dtype(kind).name for kind in types)
    raise DataError(f"{path}: labels are {low} … {high}; this kind of file holds {names}. Write NIfTI, or relabel.")


def require_size(pixels: int, path: Path) -> None:
    """Refuse a picture beyond :data:`MOST_PIXELS` before memory is asked for.

    Raises:
        DataError: the header announces more.
    """
    if pixels > MOST_PIXELS:
        raise DataError(
            f"{path}: the header announces {pixels / 1e6:.0f} megapixels; at most {MOST_PIXELS / 1e6:.0f} are read. "
            "Cut it into tiles, or check that the file is not damaged."
        )


def _require_pixels(array: np.ndarray, path: Path) -> None:
    if array.size == 0:
        shape = "×".join(map(str, array.shape))
        raise DataError(f"{path}: size is {shape}; at least one pixel is required. Check how the file was made.")


def _require_finite(array: np.ndarray, path: Path) -> None:
    broken = int(array.size - np.count_nonzero(np.isfinite(array)))
    if broken:
        nan = int(np.count_nonzero(np.isnan(array)))
        raise DataError(
            f"{path}: {nan} NaN and {broken - nan} infinite value(s) among {array.size}; "
            "every value must be finite. Replace them, or leave the case out."
        )
