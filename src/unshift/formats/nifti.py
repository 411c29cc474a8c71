"""NIfTI volumes and pictures (.nii, .nii.gz) with affine, spacing and orientation kept.

Array axes are the file's reversed: [x, y, z] becomes (depth, height, width) = (z, y, x), [x, y] becomes (height,
width), a fourth axis (channels, or times) comes first. The affine's columns are permuted with the axes; a flat
picture carries the 4×4 affine of the volume whose only slice it is. ``scl_slope`` and ``scl_inter`` are applied.
Lengths are converted to mm; a file that names no unit is in mm, as all known writers mean it. Without sform and qform
the affine is None and spacing comes from ``pixdim``; a ``pixdim`` of 0 means that spacing is unknown (None).

Nothing is repaired: where ``pixdim`` and the affine give different voxel sizes, the file is refused, because every
distance in mm would depend on which of the two is believed.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Int
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from torch import Tensor

from unshift.contracts import Format, Picture
from unshift.errors import DataError, ShapeMismatch
from unshift.formats.files import decoding, read_bytes, write_bytes
from unshift.formats.values import image_tensor, label_tensor, smallest_integers

Header = nib.Nifti1Header
_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_REVERSE = [2, 1, 0, 3]
_NIBABEL = (HeaderDataError, WrapStructError)
_DEFLATE_LIMIT = 1032  # no gzip stream unpacks to more than this many times its size


class Nifti(Format):
    """Reads and writes NIfTI-1, reads NIfTI-2, plain or gzipped (told apart by content)."""

    suffixes: ClassVar[tuple[str, ...]] = (".nii.gz", ".nii")

    def read_image(self, path: Path) -> Picture:
        """float32 [channel, *space] in the file's own units; RGB files in [0, 1].

        Raises:
            DataError: truncated, damaged, not NIfTI, complex, NaN or infinite values, contradicting geometry.
        """
        header, array = _read(path)
        if array.dtype.names:
            array = np.stack([array[name] for name in ("R", "G", "B")], axis=-1).astype(np.float32) / 255
        channels_last = array.reshape(*_space(header, path), -1)
        return Picture(image_tensor(channels_last.transpose(), path), *_geometry(header, path))

    def read_label_map(self, path: Path) -> Picture:
        """int64 [*space], the values as stored after ``scl_slope`` and ``scl_inter``.

        Raises:
            DataError: as for images; several channels; values that are not whole numbers.
        """
        header, array = _read(path)
        space = _space(header, path)
        if array.dtype.names or array.size != int(np.prod(space)):
            raise DataError(
                f"{path}: shape is {_times(array.shape)}; a label map has one channel. Save one integer per voxel."
            )
        return Picture(label_tensor(array.reshape(space).transpose(), path), *_geometry(header, path))

    def write_label_map(self, path: Path, label_map: Int[Tensor, "*space"], *, like: Picture | None = None) -> None:
        """uint8, int16 or int32, whichever is the smallest that holds the labels; sform and qform code 1 (scanner).

        With spacing but no affine both codes are 0, so that reading gives what was written; with neither, ``pixdim``
        is 0. The file's affine is float32, as the format has it.

        Raises:
            DataError: another ending than .nii or .nii.gz; a label beyond int32; the folder cannot be written to.
        """
        if not path.name.lower().endswith(self.suffixes):
            raise DataError(f"{path}: NIfTI files end in .nii or .nii.gz. Choose such a name.")
        values = smallest_integers(label_map, path, (np.uint8, np.int16, np.int32))
        if values.ndim not in (2, 3):
            raise DataError(f"{path}: label map is {_times(values.shape)}; 2 or 3 axes are required. Write each alone.")
        if like and like.spacing and len(like.spacing) != values.ndim:
            raise ShapeMismatch(
                f"{path}: label map has {values.ndim} axes but spacing has {len(like.spacing)}; "
                "both must be of one grid. Pass the picture that the label map was predicted from."
            )
        _write(path, _image(values, like or Picture(label_map)))

    def write_image(self, path: Path, picture: Picture) -> None:
        """float32, one channel, with the picture's spacing and affine, as :meth:`write_label_map` writes them.

        Raises:
            DataError: another ending than .nii or .nii.gz; several channels; the folder cannot be written to.
        """
        if not path.name.lower().endswith(self.suffixes) or picture.array.shape[0] != 1:
            raise DataError(
                f"{path}: {picture.array.shape[0]} channel(s); one, and a name in .nii or .nii.gz, are required. "
                "Write channels singly."
            )
        _write(path, _image(picture.array[0].detach().cpu().numpy().astype(np.float32), picture))


def _write(path: Path, image: nib.Nifti1Image) -> None:
    data = image.to_bytes()
    write_bytes(path, gzip.compress(data, 6, mtime=0) if path.name.lower().endswith(".gz") else data)


def _read(path: Path) -> tuple[Header, np.ndarray]:
    """Header and scaled array in the file's axis order; nothing partial, gzip checksum verified."""
    data = read_bytes(path)
    zipped = data[:2] == b"\x1f\x8b"
    with decoding(path, "NIfTI file", *_NIBABEL), gzip.open(io.BytesIO(data)) if zipped else io.BytesIO(data) as stream:
        header = _header(stream.read(540), path)
        shape = header.get_data_shape()
        end = int(header["vox_offset"]) + int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
        if end > (len(data) * _DEFLATE_LIMIT if zipped else len(data)):
            raise DataError(
                f"{path}: {_times(shape)} voxels need {end} bytes and the file has {len(data)}; it is truncated, "
                "or its header is damaged. Copy it again from its source."
            )
        stream.seek(0)
        content = io.BytesIO(stream.read(end))
        while stream.read(1 << 20):  # the checksum of a gzip stream is compared at its end only
            pass
        is_color = header.get_data_dtype().names is not None
        array = header.raw_data_from_fileobj(content) if is_color else header.data_from_fileobj(content)
    return header, np.asarray(array)


def _header(head: bytes, path: Path) -> Header:
    """The header as stored; nibabel's own checks would silently repair a zero ``pixdim``."""
    magic1, magic2 = head[344:348], head[4:12]
    if magic1 == b"n+1\0":
        kind, dimensions = nib.Nifti1Header, 348
    elif magic2[:4] == b"n+2\0":
        kind, dimensions = nib.Nifti2Header, 540
    else:
        raise DataError(f"{path}: content is not NIfTI (no 'n+1' mark). Convert it to .nii.gz, or correct its name.")
    header = kind.from_fileobj(io.BytesIO(head[:dimensions]), check=False)
    rank = int(header["dim"][0])
    shape = [int(n) for n in header["dim"][1 : rank + 1]]
    if not 2 <= rank <= 5 or min(shape) < 1:
        raise DataError(f"{path}: dimensions are {shape}; 2 to 5 positive ones are required. The header is damaged.")
    if not header["vox_offset"] >= dimensions:
        raise DataError(f"{path}: data begins at byte {header['vox_offset']}, inside the header. The file is damaged.")
    if header.get_data_dtype().kind not in "iufV":
        raise DataError(f"{path}: voxels are {header.get_data_dtype()}; real numbers are required. Save magnitudes.")
    return header


def _space(header: Header, path: Path) -> tuple[int, ...]:
    """Spatial axes in the file's order; channels are the fourth axis, or the fifth when the fourth is 1."""
    shape = header.get_data_shape()
    if len(shape) == 5 and shape[3] != 1:
        raise DataError(f"{path}: shape is {_times(shape)}; times and channels at once are not read. Split the times.")
    return tuple(shape[:3])


def _geometry(header: Header, path: Path) -> tuple[tuple[float, ...] | None, Tensor | None]:
    """Spacing in mm and affine to RAS+ mm, both in array axis order."""
    with decoding(path, "NIfTI header", *_NIBABEL):
        factor = _MM_PER_UNIT[header.get_xyzt_units()[0]]
        placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        affine = header.get_best_affine() if placed else None
    sizes = np.abs(header["pixdim"][1 : len(_space(header, path)) + 1].astype(np.float64)) * factor
    if not np.isfinite(sizes).all():
        raise DataError(f"{path}: voxel sizes are {sizes.tolist()}; finite ones are required. Correct pixdim.")
    if affine is None:
        return (tuple(sizes[::-1].tolist()) if sizes.all() else None), None
    affine = affine.astype(np.float64)
    affine[:3] *= factor
    if len(sizes) == 2 and not affine[:3, 2].any():
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1]) / (sizes.prod() or 1.0)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-4:
        raise DataError(f"{path}: the affine is singular or not finite; it places no voxel. Correct sform or qform.")
    lengths = lengths[: len(sizes)]
    if sizes.all() and not np.allclose(sizes, lengths, rtol=0.01):
        raise DataError(
            f"{path}: voxels are {_times(sizes.round(4))} mm by pixdim but {_times(lengths.round(4))} mm by the "
            "affine; both must agree. Correct the header."
        )
    return tuple(lengths[::-1].tolist()), torch.from_numpy(affine[:, _REVERSE])


def _image(values: np.ndarray, like: Picture) -> nib.Nifti1Image:
    """An image in the file's axis order whose header says of the geometry what ``like`` knows, and no more."""
    affine = None if like.affine is None else like.affine.detach().cpu().numpy().astype(np.float64)[:, _REVERSE]
    image = nib.Nifti1Image(values.transpose(), affine, dtype=values.dtype)
    if affine is None:
        image.header.set_zooms(tuple(reversed(like.spacing)) if like.spacing else (0.0,) * values.ndim)
        image.header["qform_code"] = image.header["sform_code"] = 0
    else:
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1 if _is_rigid(affine) else 0)
    image.header.set_xyzt_units("mm")
    return image


def _is_rigid(affine: np.ndarray) -> bool:
    """Whether rotation and scaling say all (a qform cannot hold shears)."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))


def _times(shape: tuple[int, ...] | np.ndarray) -> str:
    return "×".join(str(n) for n in shape)


MEMBER = Nifti
