"""Pixels of DICOM data sets: decoded, colors as RGB, grey in the units that the file states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32, Shaped
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder, pixel_array

from unshift.errors import DataError
from unshift.formats.dicom_files import PYDICOM_ERRORS, count_frames, frame_value
from unshift.formats.files import decoding
from unshift.formats.values import require_size

PHOTOGRAPHIC = frozenset({"DMS", "ES", "GM", "IVUS", "OP", "OPT", "OT", "SM", "US", "XC"})
"""Modalities whose grey values are brightness, without a unit: they become [0, 1] as photographs do."""
_COLORS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
_GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})
_INSTALL = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
_NO_IMAGE = {"SEG": "a segmentation", "RTDOSE": "a dose"}


def image_frames(dataset: pydicom.Dataset, path: Path) -> Float32[np.ndarray, "frame channel height width"]:
    """What is seen or measured.

    Color is RGB in [0, 1]. Grey of :data:`PHOTOGRAPHIC` modalities without a rescale is in [0, 1]; all other grey has
    modality LUT or rescale slope and intercept applied (of each frame, in enhanced files) and keeps its unit.
    MONOCHROME1 is inverted within the range of its stored bits, before any rescale.

    Raises:
        DataError: no pixels; truncated; a compression without decoder; not an image; unknown colors.
    """
    with decoding(path, "DICOM image", *PYDICOM_ERRORS):
        frames = stored_frames(dataset, path)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
            return _channels_first(apply_color_lut(frames[..., 0], dataset), 2**bits - 1)
        if dataset.PhotometricInterpretation in _COLORS:
            return _channels_first(frames, 2**dataset.BitsStored - 1)
        grey = frames[..., 0]
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            ends = -1 if dataset.PixelRepresentation else 2**dataset.BitsStored - 1  # smallest + largest number
            grey = ends - grey.astype(np.int64)
        return _grey_in_units(grey, dataset)[:, None]


def stored_frames(dataset: pydicom.Dataset, path: Path) -> Shaped[np.ndarray, "frame height width sample"]:
    """Decoded numbers as stored, in the order of the file; only YBR colors are already converted to RGB.

    Raises:
        DataError: as :func:`image_frames`.
    """
    with decoding(path, "DICOM image", *PYDICOM_ERRORS):
        _require_image(dataset, path)
        _require_decoder(dataset, path)
        require_size(int(dataset.Rows) * int(dataset.Columns), path)
        array = _decoded(dataset, path)
        array = array if count_frames(dataset) > 1 else array[None]
        return array if dataset.SamplesPerPixel > 1 else array[..., None]


def _decoded(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return pixel_array(dataset)
    with decoding(path, f"{syntax.name} image for the decoders installed ({_INSTALL} adds some)"):
        return pixel_array(dataset)


def _require_image(dataset: pydicom.Dataset, path: Path) -> None:
    kind = str(dataset.get("Modality", ""))
    if kind in _NO_IMAGE:
        raise DataError(f"{path}: {_NO_IMAGE[kind]} ({kind}), which is no image. Convert it to NIfTI.")
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
        raise DataError(f"{path}: no pixel data (modality {kind or 'not stated'}); an image is required. Leave it out.")
    photometric = dataset.get("PhotometricInterpretation")
    if photometric not in _COLORS | _GREYS:
        raise DataError(f"{path}: colors are {photometric}; one of {sorted(_COLORS | _GREYS)} is required. Convert it.")


def _require_decoder(dataset: pydicom.Dataset, path: Path) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"{path}: {syntax.name} cannot be decoded. Convert it to an uncompressed file.") from None
    if not decoder.is_available:
        raise DataError(
            f"{path}: compressed as {syntax.name}; no decoder for it is installed. Do "
            f"{_INSTALL}, or convert it to an uncompressed file."
        )


def _grey_in_units(grey: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(grey, dataset), dtype=np.float32)
    result = np.empty(grey.shape, dtype=np.float32)
    scales = [_rescale(dataset, frame) for frame in range(len(grey))]
    is_brightness = dataset.get("Modality") in PHOTOGRAPHIC and set(scales) == {(1.0, 0.0)} and grey.min() >= 0
    for frame, (slope, intercept) in enumerate(scales):
        factor = 1.0 / (2**dataset.BitsStored - 1) if is_brightness else slope
        result[frame] = grey[frame] * factor + intercept
    return result


def _rescale(dataset: pydicom.Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of one frame: its functional group's, else the file's, else 1 and 0."""
    found = []
    for keyword, neutral in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        value = frame_value(dataset, frame, "PixelValueTransformationSequence", keyword)
        value = dataset.get(keyword) if value is None else value
        found.append(neutral if value is None else float(value))
    return found[0], found[1]


def _channels_first(frames: np.ndarray, largest: int) -> np.ndarray:
    return np.moveaxis(frames.astype(np.float32) / np.float32(largest), -1, 1)
