"""Every problem of a dataset at once: files, contents, patients, copies. Nothing stops at the first finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from unshift.audit.duplicates import Fingerprint, Pair, fingerprint, similar_pairs
from unshift.contracts import Dataset
from unshift.datasets.files import FileDataset
from unshift.datasets.meaning import LabelsOutsideTask, OtherChannels, times, to_labels
from unshift.datasets.problem import Problem, Severity
from unshift.errors import DataError, ShapeMismatch
from unshift.sample import Case, Sample

__all__ = ["Problem", "check"]

_SHOWN = 5
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "count": 2}


@dataclass
class _Findings:
    """What one pass collects."""

    problems: list[Problem] = field(default_factory=list)
    prints: list[Fingerprint] = field(default_factory=list)
    labeled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    empty: dict[str, list[Case]] = field(default_factory=lambda: defaultdict(list))
    blank: dict[str, list[Case]] = field(default_factory=lambda: defaultdict(list))
    grey: dict[str, list[Case]] = field(default_factory=lambda: defaultdict(list))
    images: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    channels: dict[tuple[str, int], list[Case]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, severity: Severity, file: Path, message: str) -> None:
        """A finding from an error's message, ``file: what. remedy``."""
        what, _, remedy = message.removeprefix(f"{file}: ").rpartition(". ")
        self.problems.append(Problem(kind, severity, file, what or remedy, remedy if what else "Repair or remove it."))


def check(dataset: Dataset, *, listener: Callable[[int, int], None] | None = None) -> list[Problem]:
    """All findings about ``dataset``, errors first; an empty list means that nothing was found.

    Looked for: missing and doubled files, unreadable, truncated or non-finite ones, a label map or field of view of
    another size, labels outside the task, a label map placed elsewhere than its image, one patient in two splits or
    two domains, copies and near-copies of images that a split by patient would put on two sides; empty label maps and
    images of one value are counted. Each file is read once, and about 5 kB per image are kept.

    Args:
        dataset: as :func:`unshift.datasets.opening.open_dataset` gives it.
        listener: called after each case with the number done and the number in all.
    """
    findings = _Findings()
    cases = _all_cases(dataset, findings)
    for done, case in enumerate(cases, start=1):
        _check_case(dataset, case, findings)
        if listener is not None:
            listener(done, len(cases))
    root = dataset.root or Path(type(dataset).__module__.rpartition(".")[2])
    findings.problems += [*_patients(cases), *_copies(findings.prints, root), *_counts(findings, root)]
    findings.problems += _channels(findings, dataset.task.channels)
    return sorted(findings.problems, key=lambda p: (_ORDER[p.severity], p.kind, str(p.file)))


def _all_cases(dataset: Dataset, findings: _Findings) -> Sequence[Case]:
    if isinstance(dataset, FileDataset):
        try:
            findings.problems += dataset.scan.problems
        except DataError as error:
            what = str(error).removeprefix(f"{dataset.folder}: ").partition("\n")[0].rstrip(".")
            remedy = "Arrange the files as the dataset's card shows."
            findings.problems.append(Problem("layout", "error", dataset.folder, what, remedy))
            return ()
        return dataset.scan.cases
    return [case for domain in dataset.domains for case in dataset.cases(domain)]


def check_files(dataset: FileDataset, cases: Iterable[Case]) -> list[Problem]:
    """The errors in the files of ``cases``: unreadable, of another size than the image, labels outside the task.

    Each file is read once. Cases are not compared with one another; :func:`check` does that too.
    """
    findings = _Findings()
    for case in cases:
        _check_case(dataset, case, findings)
    found = [*findings.problems, *_channels(findings, dataset.task.channels)]
    return [problem for problem in found if problem.severity == "error"]


# ------------------------------------------------------------------------------------------------------ one case


def _check_case(dataset: Dataset, case: Case, findings: _Findings) -> None:
    sample = _read_image(dataset, case, findings)
    labels = _read_labels(dataset, case, findings, sample)
    if sample is not None:
        findings.prints.append(fingerprint(case, sample))
        findings.images[case.domain] += 1
        if (
            len(sample.image) == 3
            and findings.prints[-1].bits is not None
            and bool((sample.image == sample.image[:1]).all())
        ):
            findings.grey[case.domain].append(case)
        if findings.prints[-1].bits is None:
            findings.blank[case.domain].append(case)
    if labels is not None:
        findings.labeled[case.domain] += 1
        if not labels.any():
            findings.empty[case.domain].append(case)
        if sample is not None and labels.shape != sample.space:
            what = f"label map is {times(labels.shape)} but image {_file(case)} is {times(sample.space)}"
            remedy = "Resample the label map with order 0."
            file = case.labels or _file(case)
            findings.problems.append(Problem("size", "error", file, f"{what}; both must share one grid", remedy))


def _read_image(dataset: Dataset, case: Case, findings: _Findings) -> Sample | None:
    try:
        return dataset.read_image(case)
    except ShapeMismatch as error:
        findings.add("size", "error", _named(error, case), str(error))
    except OtherChannels as error:
        findings.channels[case.domain, error.stored].append(case)
    except DataError as error:
        findings.add("unusable image", "error", _named(error, case), str(error))
    return None


def _read_labels(dataset: Dataset, case: Case, findings: _Findings, sample: Sample | None) -> Tensor | None:
    """Labels as the task has them; the values as stored when some are outside it, since their size still counts."""
    if case.images and case.labels is None:
        return None
    if not isinstance(dataset, FileDataset):
        return dataset.read_label_map(case)
    assert case.labels is not None
    try:
        stored = dataset.read_stored(case)
    except DataError as error:
        findings.add("unusable label map", "error", case.labels, str(error))
        return None
    if sample is not None and not _same_place(sample.affine, stored.affine):
        what = f"stands elsewhere in space than {_file(case)} (their affines differ); a label map must lie on its image"
        findings.problems.append(
            Problem("placement", "warning", case.labels, what, "Copy the image's affine if the voxels do correspond.")
        )
    try:
        return to_labels(stored.array, dataset.task, values=dataset.values, path=case.labels)
    except LabelsOutsideTask as error:
        findings.add("labels outside the task", "error", case.labels, str(error))
        return stored.array


def _same_place(image: Tensor | None, labels: Tensor | None) -> bool:
    if image is None or labels is None or image.shape != labels.shape:
        return True
    return torch.allclose(image, labels, rtol=1e-3, atol=1e-2)


def _file(case: Case) -> Path:
    return case.images[0] if case.images else Path(case.key)


def _named(error: DataError, case: Case) -> Path:
    """The file of ``case`` with which the message begins."""
    files = (*case.images, *filter(None, (case.field_of_view, case.labels)))
    return next((path for path in files if str(error).startswith(str(path))), _file(case))


# ---------------------------------------------------------------------------------------------------- all cases


def _patients(cases: Iterable[Case]) -> list[Problem]:
    """Patients that stand in two splits, or in two domains. A case without a declared split may end in training."""
    splits: dict[str, dict[str, Case]] = defaultdict(dict)
    domains: dict[str, dict[str, Case]] = defaultdict(dict)
    for case in cases:
        splits[case.patient].setdefault(case.split or "undeclared", case)
        domains[case.patient].setdefault(case.domain, case)
    problems = []
    for patient, found in splits.items():
        if len(found) > 1:
            what = f"patient {patient!r} stands in the splits {_places(found)}; each patient belongs in one"
            file = _file(next(iter(found.values())))
            problems.append(Problem("patient in two splits", "error", file, what, "Move the patient's cases together."))
    for patient, found in domains.items():
        if len(found) > 1:
            what = f"patient {patient!r} stands in the domains {_places(found)}; training on one would show the other's"
            remedy = (
                "Keep such patients out of the test domain, or set the patient rule's scope to domain if ids restart."
            )
            problems.append(
                Problem("patient in two domains", "warning", _file(next(iter(found.values()))), what, remedy)
            )
    return problems


def _places(found: dict[str, Case]) -> str:
    return ", ".join(f"{place} ({case.name})" for place, case in found.items())


def _copies(prints: Sequence[Fingerprint], root: Path) -> list[Problem]:
    """Copies across splits and domains one by one; near-copies within a domain counted, when their patients differ."""
    problems: list[Problem] = []
    frames: dict[str, list[Pair]] = defaultdict(list)
    for pair in similar_pairs(prints):
        a, b = pair.first, pair.second
        how = "the same image as" if pair.is_exact else f"nearly the same image (correlation {pair.correlation:.3f}) as"
        if a.split != b.split:
            what = f"{how} {_file(a)}, of another split; a test image must not be trained on"
            problems.append(Problem("image in two splits", "error", _file(b), what, "Remove one of them."))
        elif a.domain != b.domain:
            what = f"{how} {_file(a)}, of domain {a.domain!r}; training on one would show the other's"
            problems.append(Problem("image in two domains", "warning", _file(b), what, "Remove one of them."))
        elif pair.is_exact:
            whose = "" if a.patient == b.patient else f", under another patient's id ({a.patient}, here {b.patient})"
            what = f"{how} {_file(a)}{whose}; it counts twice"
            problems.append(Problem("copied image", "warning", _file(b), what, "Remove one of them."))
        elif a.patient != b.patient:
            frames[a.domain].append(pair)
    return problems + [_frames(root / domain, pairs) for domain, pairs in frames.items()]


def _frames(folder: Path, pairs: list[Pair]) -> Problem:
    shown = "; ".join(f"{p.first.name} ~ {p.second.name}" for p in sorted(pairs, key=lambda p: -p.correlation)[:_SHOWN])
    what = (
        f"{len(pairs)} pair(s) of nearly the same image have different patients ({shown}{_more(pairs)}); a split may "
        "put them on two sides; in-domain scores would be optimistic"
    )
    return Problem(
        "near-copies", "warning", folder, what, "Declare the patient rule if ids are known; trust unseen domains."
    )


def _counts(findings: _Findings, root: Path) -> list[Problem]:
    problems = []
    for domain, cases in findings.empty.items():
        what = f"{len(cases)} of {findings.labeled[domain]} label maps are empty ({_names(cases)})"
        remedy = "If there was something to see, draw it; if not, leave them: metrics have a rule for such cases."
        problems.append(Problem("empty label maps", "count", root / domain, what, remedy))
    for domain, cases in findings.blank.items():
        what = f"{len(cases)} image(s) hold one value only ({_names(cases)})"
        problems.append(Problem("blank images", "count", root / domain, what, "Look at them; remove what is no image."))
    in_colour = any(len(findings.grey[domain]) < number for domain, number in findings.images.items())
    for domain, cases in findings.grey.items():
        if cases and in_colour:
            what = f"{len(cases)} of {findings.images[domain]} images are grey in a dataset of colour ({_names(cases)})"
            remedy = "Make all images grey, or check that these were meant; a network may learn colour as a sign."
            problems.append(Problem("grey among colour", "warning", root / domain, what, remedy))
    return problems


def _channels(findings: _Findings, needed: int) -> list[Problem]:
    """One finding a domain and number of channels that is not the task's; which domain is wrong nobody can know."""
    fitting = [f"{count} image(s) of {domain}" for domain, count in findings.images.items() if count]
    problems = []
    for (domain, stored), cases in findings.channels.items():
        what = (
            f"{len(cases)} image(s) of {domain} have {stored} channel(s) ({_names(cases)}); "
            f"{', '.join(fitting) or 'none'} can be read with {needed}, which the task has. One network sees all, and "
            "only grey and colour are converted into each other"
        )
        remedy = "Convert the images of one side, or set the dataset's `channels` to what all have."
        problems.append(Problem("other channels", "error", _file(cases[0]), what, remedy))
    return problems


def _names(cases: list[Case]) -> str:
    return ", ".join(case.name for case in cases[:_SHOWN]) + _more(cases)


def _more(items: Sequence[object]) -> str:
    return f", and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""


def census(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Domain -> number of cases and of patients, as far as the files can be listed: what :func:`check` looks at."""
    cases = _all_cases(dataset, _Findings())
    names = {
        domain: [case for case in cases if case.domain == domain] for domain in dict.fromkeys(c.domain for c in cases)
    }
    return {domain: (len(found), len({case.patient for case in found})) for domain, found in names.items()}
