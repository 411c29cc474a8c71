"""Folders of pairs: ``<root>/<domain>/{images,masks}``, the layout of the dataset ``folder`` and of the cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from unshift.config import Config
from unshift.datasets.files import FileDataset
from unshift.datasets.listing import Listing, entries, is_folder, listing, subfolders, unreadable
from unshift.datasets.patients import PatientRule, patient_of
from unshift.datasets.problem import Problem, Scan
from unshift.errors import DataError, UnknownName
from unshift.sample import Case, Task

TREE = """\
  <root>/<domain>/images/<case>.png       PNG, JPEG, TIFF, BMP, NIfTI, DICOM file, or folder of a DICOM series
  <root>/<domain>/masks/<case>.png        same stem as the image; a domain without this folder is unlabeled
  <root>/<domain>/fov/<case>.png          optional: where the image is valid (non-zero)"""


class PairedRules(Config):
    """How pairs of files are read as cases of a task."""

    classes: tuple[str, ...] = Field(("background", "foreground"), description="names in label order; 0 is background")
    regions: dict[str, tuple[int, ...]] = Field({}, description="name: labels scored together; default: each class")
    values: dict[int, int] | None = Field(
        None, description="stored value: label. Default: {0, 1} or {0, 255} for two classes, else the labels themselves"
    )
    channels: int = Field(3, ge=1, description="grey and colour files are converted to it")
    spatial_dims: Literal[2, 3] = 2
    patient: PatientRule = Field("stem", description="stem, or {pattern: regex with a group, scope: dataset | domain}")
    spacing: tuple[float, ...] | None = Field(None, description="mm in array axis order, in place of the files'")
    test_only: tuple[str, ...] = Field((), description="domains whose cases are never trained on")

    @model_validator(mode="after")
    def _check(self) -> PairedRules:
        wrong = {v: label for v, label in (self.values or {}).items() if not 0 <= label < len(self.classes)}
        if wrong:
            raise ValueError(f"values maps {wrong}; labels must be 0 … {len(self.classes) - 1}")
        if self.spacing and (len(self.spacing) != self.spatial_dims or min(self.spacing) <= 0):
            raise ValueError(f"spacing is {self.spacing}; {self.spatial_dims} positive numbers are required")
        self.task()
        return self

    def task(self) -> Task:
        """The task that these rules describe."""
        regions = {name: frozenset(labels) for name, labels in self.regions.items()}
        return Task(self.channels, self.classes, regions, self.spatial_dims)


class CardConfig(Config):
    """What may be chosen of a published dataset."""

    domains: tuple[str, ...] | None = Field(None, min_length=1, description="which to use; default: all")


class PairedFolders(FileDataset):
    """Cases by domain from folders of image and mask pairs that share the stem.

    A card sets ``rules``, ``published`` and ``card``; the dataset ``folder`` takes its rules from the settings.
    """

    tree = TREE
    rules: PairedRules = PairedRules()
    published: ClassVar[tuple[str, ...]] = ()
    """Domains in the owners' order; empty: every folder that holds ``images``."""

    def __init__(self, config: Any, root: Path | None = None) -> None:
        super().__init__(config, root)
        self.values, self.spacing = self.rules.values, self.rules.spacing

    @classmethod
    def settings_of(cls, root: Path) -> dict[str, Any] | None:
        """Settings under which ``root`` is this published dataset, or None when it is something else.

        A root is recognized by all published domains being there, and no other.
        """
        there = {folder.name for folder in subfolders(root)}
        return {} if cls.published and there == set(cls.published) else None

    @cached_property
    def task(self) -> Task:
        """From the rules."""
        return self.rules.task()

    def look(self) -> Scan:
        """Pair the stems of all chosen domains."""
        cases: list[Case] = []
        problems: list[Problem] = []
        domains = self._domains()
        for folder in subfolders(self.folder):
            try:
                entries(folder)
            except DataError as error:
                problems.append(unreadable(folder, error))
        for domain in domains:
            found, wrong = self._domain(domain)
            cases += found
            problems += wrong
        return Scan(domains, tuple(cases), tuple(problems))

    def _domains(self) -> tuple[str, ...]:
        folders = subfolders(self.folder)
        there = tuple(f.name for f in folders if is_folder(f / "images"))
        if not there:
            shown = ", ".join(f.name for f in folders[:8]) or "no folder"
            raise DataError(
                f"{self.root}: holds {shown}; a domain's folder with images in it is required.\n{self.expected}"
            )
        for domain in self.rules.test_only:
            if domain not in (self.published or there):
                raise UnknownName("domain", domain, there, where=f"{self.root}: test_only")
        asked: tuple[str, ...] | None = getattr(self.config, "domains", None)
        known = self.published or there
        for domain in asked or ():
            if domain not in known:
                raise UnknownName("domain", domain, known, where=str(self.root))
        missing = [domain for domain in asked or known if domain not in there]
        if missing:
            raise DataError(
                f"{self.root}: the folder(s) {', '.join(f'{d}/images' for d in missing)} are missing; found are "
                f"{', '.join(there)}. Add them, or set domains to those that you have.\n{self.expected}"
            )
        return asked or known

    def _domain(self, domain: str) -> tuple[list[Case], list[Problem]]:
        folder = self.folder / domain
        parts = {part: _part(folder / part) for part in ("images", "masks", "fov")}
        problems = [p for part in parts.values() if part for p in part.problems]
        problems += pairing(folder, parts)
        images, masks, fields = (part.files if part else {} for part in parts.values())
        cases = []
        for stem in sorted(images):
            try:
                cases.append(self._case(domain, stem, {"images": images, "masks": masks, "fov": fields}))
            except DataError as error:
                problems.append(_no_patient(images[stem][0], error))
        return cases, problems

    def _case(self, domain: str, stem: str, files: Mapping[str, Mapping[str, list[Path]]]) -> Case:
        return Case(
            name=stem,
            patient=patient_of(stem, domain, self.rules.patient),
            domain=domain,
            images=(files["images"][stem][0],),
            labels=next(iter(files["masks"].get(stem, ())), None),
            field_of_view=next(iter(files["fov"].get(stem, ())), None),
            split="test" if domain in self.rules.test_only else None,
        )


def pairing(folder: Path, parts: Mapping[str, Listing | None]) -> list[Problem]:
    """What is missing or doubled among the parts ``images``, ``masks`` and ``fov`` of one domain's folder."""
    images, masks, fields = parts["images"], parts["masks"], parts["fov"]
    assert images is not None
    problems = [p for part in parts.values() if part for p in doubled(part)]
    if not images.files and not images.problems:
        what = "holds no image; one or more are required"
        problems.append(Problem("no images", "error", folder / "images", what, "Fill it."))
    if masks is None:
        what = "there is no folder masks, so the domain is unlabeled; images can only serve as unlabeled target"
        problems.append(Problem("unlabeled domain", "warning", folder, what, "Add masks/ if labels exist."))
    else:
        problems += _unmatched(folder, images, masks, part="masks", kind="mask")
    if fields is not None:
        problems += _unmatched(folder, images, fields, part="fov", kind="field of view")
    return problems


def doubled(part: Listing) -> Iterator[Problem]:
    """Files of one folder that share a stem (``cut.png`` and ``cut.jpg``): which of them is meant nobody can know."""
    for stem, paths in part.files.items():
        if len(paths) > 1:
            names = ", ".join(p.name for p in paths)
            what = f"{len(paths)} files share the stem {stem!r} ({names}); one is required"
            yield Problem("doubled file", "error", paths[0], what, "Keep one of them.")


def _unmatched(folder: Path, images: Listing, other: Listing, *, part: str, kind: str) -> Iterator[Problem]:
    if not (images.is_readable and other.is_readable):
        return
    for stem in sorted(images.files.keys() - other.files.keys()):
        what = f"has no {kind}; {folder.name}/{part}/{stem}.* is required"
        yield Problem(f"missing {kind}", "error", images.files[stem][0], what, "Add it, or remove the image.")
    for stem in sorted(other.files.keys() - images.files.keys()):
        what = f"has no image; {folder.name}/images/{stem}.* is required"
        yield Problem("missing image", "error", other.files[stem][0], what, "Add it, or remove this file.")


def _part(folder: Path) -> Listing | None:
    return listing(folder) if is_folder(folder) else None


def _no_patient(path: Path, error: DataError) -> Problem:
    what, _, remedy = str(error).partition(". ")
    return Problem("no patient", "error", path, what, remedy)
