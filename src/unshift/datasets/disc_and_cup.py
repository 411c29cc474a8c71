"""Optic disc and cup on photographs: the task, and masks in which grey levels stand for labels.

Labels are 1 rim and 2 cup. The disc is both together, so the regions overlap: scored are ``disc`` and ``cup``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from unshift import discover
from unshift.datasets.meaning import times
from unshift.datasets.paired import PairedRules
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Item
from unshift.errors import DataError
from unshift.formats import reading
from unshift.formats.files import read_bytes, write_bytes

RULES = PairedRules(classes=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
_STRAY = 0.01
"""Largest share of pixels with other values that passes for traces of resampling."""
_SHOWN = 8


@dataclass(frozen=True)
class GreyCode:
    """How a mask's grey levels are read.

    Args:
        exact: the owners' value -> label.
        ranges: (first, last, label): how published code reads every value from 0 to 255, the exact ones included.
    """

    exact: Mapping[int, int]
    ranges: tuple[tuple[int, int, int], ...]

    def labels(
        self, stored: Int[Tensor, "height width"], path: Path
    ) -> tuple[Int[Tensor, "height width"], list[Problem]]:
        """Labels 0 … 2, and what speaks against them.

        Other values than the exact ones are read by ``ranges`` with a warning; more than 1 % of them, or a corner of
        the picture that is not background, mean that the mask bears another code: an error.
        """
        labels = torch.full_like(stored, -1)
        for first, last, label in self.ranges:
            labels[(stored >= first) & (stored <= last)] = label
        required = ", ".join(f"{value} {RULES.classes[label]}" for value, label in self.exact.items())
        known = torch.isin(stored, torch.tensor(list(self.exact)))
        if not bool(known.all()):
            problem = self._other_values(stored, known, path, required)
            if problem.severity == "error" or bool((labels < 0).any()):
                return labels, [problem]
            return labels, [problem, *_faults(labels, path, required)]
        return labels, _faults(labels, path, required)

    def _other_values(self, stored: Tensor, known: Tensor, path: Path, required: str) -> Problem:
        values = torch.unique(stored[~known]).tolist()
        count = int((~known).sum())
        shown = ", ".join(map(str, values[:_SHOWN])) + (", …" if len(values) > _SHOWN else "")
        what = f"{count} pixel(s) of {stored.numel()} have other grey levels ({shown}); required are {required}"
        if count > _STRAY * stored.numel() or values[0] < 0 or values[-1] > 255:
            return Problem("wrong grey level", "error", path, what, "Take the mask from the published package.")
        remedy = "They were read by the ranges of the published code."
        return Problem("stray grey level", "warning", path, what, remedy)


def _grey_levels(path: Path) -> Int[Tensor, "height width"]:
    """The mask's grey levels, 0 … 255, as they are seen: a palette's colors and not its indices, as published code.

    Raises:
        DataError: it cannot be read, or is in color.
    """
    seen = reading.read_image(path).array
    if not bool((seen == seen[:1]).all()):
        raise DataError(f"{path}: is in color; grey levels are required. Take the mask from the published package.")
    return (seen[0] * 255).round().long()


def _faults(labels: Tensor, path: Path, required: str) -> list[Problem]:
    if bool(labels[[0, 0, -1, -1], [0, -1, 0, -1]].all()):
        what = f"no corner of the picture is background; the grey levels seem to mean something else than {required}"
        return [Problem("wrong grey level", "error", path, what, "Take the mask from the published package.")]
    absent = [RULES.classes[label] for label in (1, 2) if not bool((labels == label).any())]
    what = f"shows no {' and no '.join(absent)}; every published mask has both"
    return [Problem("empty class", "warning", path, what, "Look at it.")] if absent else []


def convert(item: Item, folder: Path, code: GreyCode) -> tuple[list[Path], list[Problem]]:
    """The photograph as it is, and its label map as PNG; see :meth:`PreparedFolders.convert`."""
    try:
        image, stored = reading.read_image(item.image), _grey_levels(item.labels)
    except DataError as error:
        file = item.image if str(error).startswith(str(item.image)) else item.labels
        what, _, remedy = str(error).removeprefix(f"{file}: ").partition(". ")
        return [], [Problem("unusable file", "error", file, what, remedy)]
    sizes = tuple(image.array.shape[1:]), tuple(stored.shape)
    if sizes[0] != sizes[1]:
        what = f"is {times(sizes[1])} but its image {item.image} is {times(sizes[0])}; both must share one grid"
        return [], [Problem("size", "error", item.labels, what, "Take both from the published package.")]
    labels, problems = code.labels(stored, item.labels)
    if any(p.severity == "error" for p in problems):
        return [], problems
    if image.array.shape[0] != RULES.channels:
        what = f"has {image.array.shape[0]} channel(s); the published photographs are in colour"
        problems.append(Problem("grey photograph", "warning", item.image, what, "It is read as three equal channels."))
    picture = folder / "images" / f"{item.name}{item.image.suffix.lower()}"
    mask = folder / "masks" / f"{item.name}.png"
    write_bytes(picture, read_bytes(item.image))
    discover.load("formats", "photo")().write_label_map(mask, labels)
    return [picture, mask], problems
