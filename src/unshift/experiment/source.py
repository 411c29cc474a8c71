"""Source images for a repair: a folder in any layout, divided by patient into a part to fit on and a held-out part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unshift import discover
from unshift.audit.check import check_files
from unshift.config import parse
from unshift.contracts import Card, Dataset
from unshift.datasets.files import FileDataset
from unshift.datasets.listing import is_folder, listing, subfolders
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.paired import PairedRules, doubled
from unshift.datasets.patients import PatientPattern, PatientRule, patient_of
from unshift.datasets.problem import Problem, Scan, raise_errors
from unshift.errors import DataError
from unshift.randomness import derive
from unshift.sample import Case, Task

LEAST_PATIENTS = 4
"""Two to fit on and two to compare on: one patient says nothing about how patients differ."""
MOST_NAMED = 200
"""Bad files that one error names."""
LAYOUTS = """\
  <folder>/<case>.png                     images alone (PNG, JPEG, TIFF, BMP, NIfTI, DICOM file or series folder)
  <folder>/images/<case>.png              and, if known, <folder>/masks/<case>.png with labels of the same stem
  <folder>/<domain>/images/<case>.png     and, if known, masks/ and fov/ beside it
  <folder>/dataset.json, imagesTr/ …      nnU-Net's raw layout"""


@dataclass(frozen=True)
class Source:
    """Source images in two parts that share no patient.

    Args:
        dataset: reads them.
        fit: what repairs are fitted on.
        held_out: what candidates are compared on.
        is_labeled: every case of both parts has a label map.
        description: where the images are from and what is known of them, for the report.
        spare: cases that no part needed; their files are checked with the others.
    """

    dataset: Dataset
    fit: tuple[Case, ...]
    held_out: tuple[Case, ...]
    is_labeled: bool
    description: str
    spare: tuple[Case, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        """All of them."""
        return (*self.fit, *self.held_out, *self.spare)


def open_source(
    folder: Path, task: Task, *, patient: str = "", share: float = 0.4, most: int = 24, seed: int = 0
) -> Source:
    """The source images in ``folder``, read as the images of ``task``.

    Args:
        folder: in one of :data:`LAYOUTS`.
        task: of the model; files in grey and colour are converted into its channels.
        patient: regular expression with a group, matched at the start of a file's stem; default: the rule of a
            published dataset that is recognized, else every image is its own patient.
        share: of the patients, held out.
        most: held-out cases; further ones are left out.
        seed: of the division.

    Raises:
        DataError: no such folder, no known layout, no image or too few patients; files that do not fit.
        ConfigError: ``patient`` is no regular expression with a group.
    """
    dataset = open_images(folder, task, patient)
    cases = [case for domain in dataset.domains for case in dataset.cases(domain)]
    labeled = bool(cases) and all(case.labels is not None for case in cases)
    fit, held_out = divide(cases, where=str(folder), share=share, most=most, seed=seed)
    patients = len({case.patient for case in cases})
    rule = " (every image is taken for its own patient)" if patients == len(cases) else ""
    labels = "with" if labeled else "without"
    words = f"{folder.name}: {len(cases)} images of {patients} patients{rule}, {labels} labels"
    used = {case.key for case in (*fit, *held_out)}
    return Source(dataset, fit, held_out, labeled, words, tuple(case for case in cases if case.key not in used))


def require_whole_files(source: Source) -> None:
    """Read every image and mask once, so that a bad one is known before time goes into fitting.

    Raises:
        DataError: a file cannot be read in full, a mask has another size than its image or values that are no labels;
            names every such file.
    """
    if isinstance(source.dataset, FileDataset):
        raise_errors(source.dataset.folder, check_files(source.dataset, source.cases), shown=MOST_NAMED)


def divide(
    cases: Sequence[Case], *, where: str, share: float = 0.4, most: int = 24, seed: int = 0
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to fit on, and at most ``most`` held-out cases of other patients, in order.

    Patients are drawn in the order of a hash of seed and id, so that a patient's side does not depend on the others'
    file names.

    Raises:
        DataError: fewer than :data:`LEAST_PATIENTS` patients.
    """
    patients = sorted({case.patient for case in cases}, key=lambda patient: derive(seed, "robustify", patient))
    if len(patients) < LEAST_PATIENTS:
        found = f"{len(cases)} image(s) of {len(patients)} patient(s)"
        raise DataError(
            f"{where}: {found}; at least {LEAST_PATIENTS} patients are required, to fit on some and compare on others. "
            "Add source images (those that the model was trained on will do)."
        )
    count = min(max(2, round(share * len(patients))), len(patients) - 2)
    held_out = at_most(most, [case for patient in patients[:count] for case in cases if case.patient == patient])
    fitted, keys = set(patients[count:]), {case.key for case in held_out}
    return tuple(c for c in cases if c.patient in fitted), tuple(c for c in cases if c.key in keys)


def at_most(most: int, cases: Sequence[Case]) -> tuple[Case, ...]:
    """The first patients' cases, whole patients, ``most`` in all; two patients even where they have more."""
    kept: list[Case] = []
    for number, patient in enumerate(dict.fromkeys(case.patient for case in cases)):
        own = [case for case in cases if case.patient == patient]
        if number >= 2 and len(kept) + len(own) > most:
            break
        kept += own
    return tuple(kept)


def open_images(folder: Path, task: Task, patient: str = "") -> Dataset:
    """The images in ``folder``, in one of :data:`LAYOUTS`, as those of ``task``. Raises as :func:`open_source` does."""
    if not is_folder(folder):
        found = "is a file" if folder.is_file() else "no such folder"
        raise DataError(f"{folder}: {found}; a folder of source images is required.\nKnown layouts:\n{LAYOUTS}")
    if (folder / "dataset.json").is_file():
        return _same_task(open_dataset("nnunet", folder), task, folder)
    if any(is_folder(inner / "images") for inner in subfolders(folder)):
        return _pairs(folder, task, patient)
    if is_folder(folder / "images"):
        return _pairs(folder.resolve().parent, task, patient, domains=[folder.resolve().name])
    return Loose(parse(LooseConfig, _described(task, patient, None), where="source images"), folder)


def _pairs(root: Path, task: Task, patient: str, *, domains: list[str] | None = None) -> Dataset:
    """The dataset ``folder`` with the model's task; a published dataset keeps its rules for patients and values."""
    rules = PairedRules()
    if domains is None:
        rules = getattr(discover.load("datasets", recognize(root)[0]), "rules", rules)
    settings = _described(task, patient, rules.patient) | {"domains": domains, "spacing": rules.spacing}
    if len(rules.classes) == task.num_classes:
        settings["values"] = rules.values
    return open_dataset("folder", root, settings)


def _described(task: Task, patient: str, known: PatientRule | None) -> dict[str, Any]:
    """The model's task as settings of a folder, and how patients are told."""
    given = parse(PatientPattern, {"pattern": patient}, where="--patient") if patient else None
    rule = given or known or "stem"
    return {
        "classes": list(task.classes),
        "regions": {name: sorted(labels) for name, labels in task.regions.items()},
        "channels": task.channels,
        "spatial_dims": task.spatial_dims,
        "patient": rule if isinstance(rule, str) else rule.model_dump(mode="json"),
    }


def _same_task(dataset: Dataset, task: Task, folder: Path) -> Dataset:
    found = dataset.task
    for what, has, needs in (
        ("channels", found.channels, task.channels),
        ("classes", found.num_classes, task.num_classes),
        ("spatial axes", found.spatial_dims, task.spatial_dims),
    ):
        if has != needs:
            raise DataError(
                f"{folder}: its images have {has} {what}, the model {needs}; both must agree. "
                "Give the images that the model was trained on."
            )
    return dataset


class LooseConfig(PairedRules):
    """As of pairs of files; there are no masks here."""


class Loose(FileDataset):
    """Images that lie in one folder, without labels; one domain, named after the folder."""

    Config = LooseConfig
    tree = LAYOUTS
    card = Card(
        title="Loose images",
        source="A folder of images.",
        licence="That of the images.",
        patients="By the stem of the file, or by a pattern.",
        layout=LAYOUTS,
    )

    @property
    def task(self) -> Task:
        """From the settings."""
        task: Task = self.config.task()
        return task

    def look(self) -> Scan:
        """Every readable image of the folder."""
        found, domain = listing(self.folder), self.folder.resolve().name
        problems = [*found.problems, *doubled(found)]
        if not found.files and not problems:
            what = "holds no image; one or more are required"
            problems.append(Problem("no images", "error", self.folder, what, "Give the folder that holds the images."))
        cases = [
            Case(stem, patient_of(stem, domain, self.config.patient), domain, images=(paths[0],))
            for stem, paths in sorted(found.files.items())
        ]
        return Scan((domain,), tuple(cases), tuple(problems))

    def cases(self, domain: str) -> list[Case]:
        """All images. Raises :class:`DataError` where there is none."""
        cases = super().cases(domain)
        if not cases:
            raise DataError(f"{self.folder}: holds no image.\nKnown layouts:\n{LAYOUTS}")
        return cases
