"""CHAOS' T2-SPIR: a DICOM series a patient, and a PNG of grey levels a slice, brought onto one grid."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from unshift.contracts import Picture
from unshift.datasets.listing import entries, is_folder
from unshift.datasets.problem import Problem
from unshift.errors import DataError, ShapeMismatch
from unshift.formats import reading
from unshift.formats.dicom_files import read_dataset, series_files
from unshift.formats.dicom_geometry import place, plane

_NUMBER = re.compile(r"(\d+)$")
_SHOWN = 5


def check_counts(images: Path, labels: Path) -> list[Problem]:
    """What of a patient's two folders can be seen without opening a file: missing ones, and numbers that differ."""
    absent = [folder for folder in (images, labels) if not is_folder(folder)]
    if absent:
        what = "no such folder; a labeled patient has DICOM_anon and Ground"
        return [Problem("missing folder", "error", folder, what, "Unpack the download again.") for folder in absent]
    planes, pngs = _inside(images), ground(labels)
    if len(planes) == len(pngs):
        return []
    more, fewer = (planes, pngs) if len(planes) > len(pngs) else (pngs, planes)
    names = {path.stem for path in fewer}
    alone = [path.name for path in more if path.stem not in names]
    what = f"holds {len(pngs)} PNG file(s), and {images} {len(planes)} DICOM file(s); one for each slice is required"
    if len(alone) == len(more) - len(fewer):  # else the two bear other names, and which of them lacks cannot be told
        what += f"; without partner: {', '.join(alone[:_SHOWN])}{', …' if len(alone) > _SHOWN else ''}"
    return [Problem("other number of slices", "error", labels, what, "Unpack the download again.")]


def ground(folder: Path) -> list[Path]:
    """The PNG files of a folder in the order of the number that ends their names."""
    files = [path for path in entries(folder) if path.suffix.lower() == ".png"]
    return sorted(files, key=lambda path: (_number(path), path.name))


def read_series(images: Path, labels: Path) -> tuple[Picture, Int[Tensor, "depth height width"], list[Problem]]:
    """The volume, its grey levels on the same grid, and a warning where slices were paired by order alone.

    Slices are in the order of their positions. A PNG belongs to the DICOM file of the same name; where the names
    differ, to the one that stands at the same place in the order of names.

    Raises:
        DataError: a file cannot be read, a slice is missing between others, or the series is none.
        ShapeMismatch: a PNG differs in size from its slice.
    """
    image = reading.read_image(images)
    files = sorted(series_files(images), key=lambda path: (_number(path), path.name))
    planes = [plane(read_dataset(file), 0, file.name) for file in files]
    pictures = ground(labels)
    if len(pictures) != len(files):
        raise DataError(f"{labels}: {len(pictures)} PNG files for {len(files)} slices. Unpack the download again.")
    problems = []
    if [path.stem for path in pictures] != [path.stem for path in files]:
        what = "the PNG files bear other names than the DICOM files; they were paired by the order of names"
        problems.append(Problem("paired by order", "warning", labels, what, "Look at some with `unshift data show`."))
    order = place(planes, images, is_series=True).order
    return image, torch.stack([_grey(pictures[i], image.array.shape[2:]) for i in order]), problems


def _inside(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.name != "DICOMDIR"]


def _number(path: Path) -> int:
    match = _NUMBER.search(path.stem)
    return int(match[1]) if match else -1


def _grey(path: Path, size: torch.Size) -> Int[Tensor, "height width"]:
    grey = reading.read_label_map(path).array
    if grey.shape != size:
        raise ShapeMismatch(
            f"{path}: is {'×'.join(map(str, grey.shape))} but its slice is {'×'.join(map(str, size))}; both must share "
            "one grid. Take both from the published package."
        )
    return grey
