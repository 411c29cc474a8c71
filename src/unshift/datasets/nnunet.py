"""nnU-Net's raw layout, with an optional table ``domains.csv`` that names each case's patient and domain.

Channels, classes, regions (labels written as lists) and the file ending come from ``dataset.json``. The table's columns
are ``case``, ``patient``, ``domain``, optionally ``split``; further ones (``site``, ``vendor``, …) become metadata.
Without the table there is one domain, named as the folder, and each case is its own patient. Cases of ``imagesTs``
declare the split ``test``; they are left out, with a line in the log, while there is no ``labelsTs``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from unshift import config
from unshift.contracts import Card
from unshift.datasets.files import FileDataset
from unshift.datasets.listing import entries, is_folder, unreadable
from unshift.datasets.manifest import Manifest, read_manifest
from unshift.datasets.problem import Problem, Scan, raise_errors
from unshift.datasets.sidecar import Row, read_sidecar
from unshift.errors import DataError
from unshift.formats import reading
from unshift.sample import Case, Task

log = logging.getLogger(__name__)

_TREE = """\
  <root>/dataset.json                     channel_names, labels, file_ending
  <root>/imagesTr/<case>_0000.nii.gz      one file per channel, or one colour file
  <root>/labelsTr/<case>.nii.gz
  <root>/imagesTs/, <root>/labelsTs/      optional: cases for testing
  <root>/domains.csv                      optional: case,patient,domain,split,site,vendor,…"""


class Config(config.Config):
    """What ``dataset.json`` does not say."""

    sidecar: str = Field("domains.csv", description="the table's name in the root")
    spatial_dims: Literal[2, 3] | None = Field(None, description="default: those of the first image")


class NnUNet(FileDataset):
    """Cases from ``imagesTr`` and ``labelsTr`` (and ``imagesTs`` with ``labelsTs``)."""

    Config = Config
    tree = _TREE
    converts_channels = False
    card = Card(
        title="nnU-Net raw layout",
        source="Yours.",
        licence="Yours.",
        patients="By the column patient of domains.csv; without it, each case is its own patient.",
        layout=_TREE,
        defects="No ignore label: every voxel is trained on and scored.",
    )

    @cached_property
    def manifest(self) -> Manifest:
        """``dataset.json``, read once."""
        return read_manifest(self.folder / "dataset.json")

    @cached_property
    def task(self) -> Task:
        """From ``dataset.json``; the number of axes from the first image, unless it is set."""
        return self.manifest.task(self.config.spatial_dims or self._first_image_dims())

    def look(self) -> Scan:
        """Group channel files by case, find their labels, and join the table."""
        problems: list[Problem] = []
        cases = self._part("Tr", problems)
        if is_folder(self.folder / "imagesTs"):
            cases += self._part("Ts", problems)
        problems += _doubled(cases)
        if not cases and not problems:
            where = self.folder / "imagesTr"
            problems.append(Problem("no images", "error", where, "holds no case; one or more are required", "Fill it."))
        cases = self._join([c for c in cases if c.labels or c.split != "test"], {c.name for c in cases}, problems)
        return Scan(tuple(sorted({c.domain for c in cases})), tuple(cases), tuple(problems))

    def _part(self, part: Literal["Tr", "Ts"], problems: list[Problem]) -> list[Case]:
        images, labels = self.folder / f"images{part}", self.folder / f"labels{part}"
        if not is_folder(images):
            raise DataError(f"{images}: no such folder; nnU-Net's raw layout requires it.\n{self.expected}")
        channels = self._channel_files(images, problems)
        is_labeled = part == "Tr" or is_folder(labels)
        maps = self._label_files(labels, problems) if is_labeled else {}
        if not is_labeled and channels:
            log.info("%s: %d case(s) are left out, since there is no %s", images, len(channels), labels.name)
        for name in sorted(maps.keys() - channels.keys()):
            what = f"has no image; {images.name}/{name}_0000{self.manifest.ending} is required"
            problems.append(Problem("missing image", "error", maps[name], what, "Add the image, or remove this file."))
        cases = []
        for name, files in sorted(channels.items()):
            problems += self._channel_faults(name, files)
            if is_labeled and name not in maps:
                what = f"has no label map; {labels.name}/{name}{self.manifest.ending} is required"
                problems.append(
                    Problem("missing mask", "error", files[min(files)], what, "Add it, or remove the image.")
                )
            paths = tuple(files[number] for number in sorted(files))
            split = "test" if part == "Ts" else None
            cases.append(Case(name, name, self.folder.name, images=paths, labels=maps.get(name), split=split))
        return cases

    def _channel_files(self, folder: Path, problems: list[Problem]) -> dict[str, dict[int, Path]]:
        """Case -> channel number -> file."""
        found: dict[str, dict[int, Path]] = {}
        for path in self._files(folder, problems):
            match = re.fullmatch(r"(.+)_(\d{4})", path.name.removesuffix(self.manifest.ending))
            if match:
                found.setdefault(match[1], {})[int(match[2])] = path
            else:
                what = f"has no channel number; <case>_0000{self.manifest.ending} is required"
                problems.append(Problem("file name", "error", path, what, "Rename it."))
        return found

    def _label_files(self, folder: Path, problems: list[Problem]) -> dict[str, Path]:
        if not is_folder(folder):
            raise DataError(f"{folder}: no such folder; nnU-Net's raw layout requires it.\n{self.expected}")
        return {p.name.removesuffix(self.manifest.ending): p for p in self._files(folder, problems)}

    def _files(self, folder: Path, problems: list[Problem]) -> list[Path]:
        try:
            found = entries(folder)
        except DataError as error:
            problems.append(unreadable(folder, error))
            return []
        for path in found:
            if not path.name.endswith(self.manifest.ending):
                what = f"does not end in {self.manifest.ending!r}, so it is left out"
                problems.append(Problem("stray file", "warning", path, what, "Convert it, or move it elsewhere."))
        return [path for path in found if path.name.endswith(self.manifest.ending)]

    def _channel_faults(self, name: str, files: dict[int, Path]) -> list[Problem]:
        """One file per declared channel, or a single file that holds all of them."""
        required = set(range(len(self.manifest.channels)))
        if set(files) in (required, {0}):
            return []
        numbers = ", ".join(f"{n:04d}" for n in sorted(files))
        what = f"case {name!r} has channel file(s) {numbers}; {len(required)} are required, from 0000"
        return [
            Problem("channel files", "error", files[min(files)], what, "Add or remove files, or correct channel_names.")
        ]

    def _join(self, cases: list[Case], names: set[str], problems: list[Problem]) -> list[Case]:
        """``cases`` with what the table says of them."""
        path = self.folder / self.config.sidecar
        if not path.is_file() and path.name != "domains.csv":
            raise DataError(
                f"{path}: no such file; the setting sidecar names it. Correct the setting, or add the file."
            )
        if not path.is_file():
            log.info(
                "%s: no %s; one domain %r, and each case is its own patient", self.root, path.name, self.folder.name
            )
            return cases
        rows, wrong = read_sidecar(path, names)
        problems += wrong
        return [_with_row(case, rows[case.name]) for case in cases if case.name in rows]

    def _first_image_dims(self) -> Literal[2, 3]:
        """Spatial axes of the first image that can be read, so that one damaged file does not hide the task."""
        if not self.scan.cases:
            raise_errors(self.folder, self.scan.problems)
        unreadable_images = []
        for case in self.scan.cases:
            try:
                return 2 if reading.read_image(case.images[0]).array.ndim == 3 else 3
            except DataError as error:
                unreadable_images.append(error)
        raise unreadable_images[0]


def _doubled(cases: list[Case]) -> list[Problem]:
    """Names that stand in both ``imagesTr`` and ``imagesTs``."""
    counts = Counter(case.name for case in cases)
    return [
        Problem("doubled case", "error", c.images[0], f"case {c.name!r} stands in imagesTr too", "Remove or rename it.")
        for c in cases
        if counts[c.name] > 1 and c.split == "test"
    ]


def _with_row(case: Case, row: Row) -> Case:
    return Case(
        name=case.name,
        patient=row.patient,
        domain=row.domain,
        images=case.images,
        labels=case.labels,
        split=row.split or case.split,
        metadata=row.metadata,
    )


MEMBER = NnUNet
