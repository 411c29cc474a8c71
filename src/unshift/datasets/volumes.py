"""A volume and its label map from a download into a prepared dataset: labels translated, axes turned, geometry kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from unshift import discover
from unshift.contracts import Picture
from unshift.datasets.leaks import slice_digests
from unshift.datasets.meaning import times
from unshift.datasets.orientation import Plane, oriented
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Item
from unshift.errors import DataError
from unshift.formats import reading

REMEDY = "Take it from the published package."
_SHOWN = 8
Labels = Callable[[Int[Tensor, "*space"]], Int[Tensor, "*space"]]
"""Stored values -> labels; -1 where a value has no meaning."""


def by_value(table: Mapping[int, int]) -> Labels:
    """Labels by a table of stored values."""

    def labels(stored: Int[Tensor, "*space"]) -> Int[Tensor, "*space"]:
        result = torch.full_like(stored, -1)
        for value, label in table.items():
            result[stored == value] = label
        return result

    return labels


def by_range(ranges: tuple[tuple[int, int, int], ...]) -> Labels:
    """Labels by (first, last, label)."""

    def labels(stored: Int[Tensor, "*space"]) -> Int[Tensor, "*space"]:
        result = torch.full_like(stored, -1)
        for first, last, label in ranges:
            result[(stored >= first) & (stored <= last)] = label
        return result

    return labels


def unusable(error: DataError, item: Item) -> Problem:
    """The finding for a file that could not be read."""
    place, _, text = str(error).partition(": ")
    file = Path(place) if place.startswith((str(item.image), str(item.labels))) else item.image
    what, _, remedy = (text if str(file) == place else str(error)).partition(". ")
    return Problem("unusable file", "error", file, what, remedy)


def faults(item: Item, image: Picture, stored: Tensor, labels: Tensor, known: str) -> list[Problem]:
    """What keeps a pair from being used: axes, grids that differ, unknown values, no structure at all.

    Args:
        item: names the files.
        image: as read.
        stored: the label map as read.
        labels: what became of it, -1 where a value has no meaning.
        known: the published values, for the message.
    """
    if image.array.ndim != 4 or image.array.shape[0] != 1:
        what = f"is {times(tuple(image.array.shape))} [channel, *space]; one channel and three axes are required"
        return [Problem("size", "error", item.image, what, REMEDY)]
    if image.array.shape[1:] != stored.shape:
        found = times(stored.shape)
        what = f"is {found} but its image {item.image} is {times(image.array.shape[1:])}; both must share one grid"
        return [Problem("size", "error", item.labels, what, REMEDY)]
    wrong = torch.unique(stored[labels < 0]).tolist()
    if wrong:
        shown = ", ".join(map(str, wrong[:_SHOWN])) + (", …" if len(wrong) > _SHOWN else "")
        what = f"holds the value(s) {shown}; published are {known}"
        return [Problem("wrong label", "error", item.labels, what, REMEDY)]
    if not bool((labels > 0).any()):
        what = f"shows none of the structures, in any of {len(labels)} slices; every published label map shows some"
        return [Problem("empty label map", "error", item.labels, what, REMEDY)]
    return []


def turned(item: Item, image: Picture, labels: Tensor, plane: Plane) -> tuple[Picture, Picture] | Problem:
    """Image and label map with their axes along ``plane``, or why that cannot be done."""
    if image.affine is None:
        what = "does not say how its axes lie in the patient (no affine); slices of one kind cannot be cut from it"
        return Problem("no orientation", "error", item.image, what, REMEDY)
    return oriented(image, plane), oriented(Picture(labels, image.spacing, image.affine), plane)


def written(item: Item, folder: Path, image: Picture, labels: Picture) -> list[Path]:
    """``<folder>/{images,masks}/<case>.nii.gz``; an image of whole numbers (HU) is stored as integers."""
    paths = [folder / part / f"{item.name}.nii.gz" for part in ("images", "masks")]
    nifti = discover.load("formats", "nifti")()
    values = image.array[0]
    if bool((values == values.round()).all()) and float(values.abs().max()) < 2**24:
        nifti.write_label_map(paths[0], values.long(), like=image)
    else:
        nifti.write_image(paths[0], image)
    nifti.write_label_map(paths[1], labels.array, like=labels)
    return paths


def contents(image: Path, labels: Path) -> list[str]:
    """Digests of a prepared pair's slices, for the search for leaks."""
    return slice_digests(reading.read_image(image).array, reading.read_label_map(labels).array)
