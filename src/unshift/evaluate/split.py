"""Patients of one domain into train, validation and test; and a plan's split as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unshift.contracts import Dataset
from unshift.errors import ProtocolError
from unshift.evaluate.files import write_whole
from unshift.evaluate.fold import Fold
from unshift.randomness import derive
from unshift.sample import Case

SIDES = ("train", "validation", "test")
_VERSION = 1


@dataclass(frozen=True)
class Division:
    """Cases of one domain by side."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]


def divide(cases: Sequence[Case], *, domain: str, validation: float, test: float, seed: int) -> Division:
    """Divide a source domain's cases by patient.

    What the dataset's owners declare is kept. Where they declare no test patients, the share ``test`` is drawn from
    the undeclared patients; where they declare no validation patients, the share ``validation`` is drawn from
    all that are not test. A share above 0 gives at least one patient. Patients are drawn in the order of a hash of
    seed and id, so a patient's place does not depend on the order in which files are found.

    Args:
        cases: of one domain.
        domain: named in errors.
        validation, test: shares of the patients, in [0, 1); 0 draws none.
        seed: of the draw.

    Raises:
        ProtocolError: no patient is left to train on, a patient is declared in two splits, a declared split has an
            unknown name.
    """
    declared = _declared(cases)
    patients = _ordered(declared, seed)
    tested = [p for p in patients if declared[p] == "test"]
    if not tested:
        tested = _share([p for p in patients if declared[p] is None], test, of=len(patients))
    validated = [p for p in patients if declared[p] == "validation"]
    if not validated:
        validated = _share([p for p in patients if p not in set(tested)], validation, of=len(patients))
    side = dict.fromkeys(tested, "test") | dict.fromkeys(validated, "validation")
    if all(patient in side for patient in patients):
        raise ProtocolError(_nothing_left(domain, len(patients), len(tested), len(validated)))
    return Division(*(tuple(c for c in cases if side.get(c.patient, "train") == name) for name in SIDES))


def divide_target(
    cases: Sequence[Case], *, domain: str, share: float, seed: int
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """(unlabeled, tested): a target's cases by patient, for adaptation whose tested images training never sees.

    Patients that the owners declare for testing are tested and no others; where they declare none, ``share`` of the
    patients, at least one and not all, is seen unlabeled. The order is that of :func:`divide`, so that the patients
    whom it would test are among those tested here when there are at least as many.

    Raises:
        ProtocolError: nobody is left on one of the sides; declarations as in :func:`divide`.
    """
    declared = _declared(cases)
    patients = _ordered(declared, seed)
    tested = {p for p in patients if declared[p] == "test"}
    if not tested and len(patients) > 1:
        tested = set(patients[: min(max(1, round((1 - share) * len(patients))), len(patients) - 1)])
    unlabeled = tuple(case for case in cases if case.patient not in tested)
    if not tested or not unlabeled:
        found = "all of them declared for testing" if tested else "which cannot be on both sides"
        raise ProtocolError(
            f"Domain {domain!r}: {len(patients)} patient(s), {found}; adapt: held_out needs two or more, some for "
            "unlabeled images in training and others for the test. Add images of the target, or set protocol.adapt: "
            "transductive, which trains on the tested images without their labels, and says so."
        )
    return unlabeled, tuple(case for case in cases if case.patient in tested)


def write_split(path: Path, folds: Iterable[Fold]) -> None:
    """Store a plan as JSON: for each fold and side, the cases' keys and patients. Written whole or not at all."""
    rows = [
        {"name": f.name, "kind": f.kind, "sources": list(f.sources), "targets": list(f.targets)}
        | {side: [{"case": c.key, "patient": c.patient} for c in getattr(f, side)] for side in SIDES}
        | (_adapted(f) if f.unlabeled else {})
        for f in folds
    ]
    text = json.dumps({"version": _VERSION, "folds": rows}, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def read_split(path: Path, dataset: Dataset) -> list[Fold]:
    """The plan that :func:`write_split` stored, with the dataset's own cases.

    Raises:
        ProtocolError: the file is missing, damaged or of another version; a case is no longer in the dataset or now
            belongs to another patient.
    """
    known = {case.key: case for domain in dataset.domains for case in dataset.cases(domain)}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise ProtocolError(f"{path}: version {data['version']!r}; this program reads {_VERSION}. Split again.")
        return [_fold(path, row, known) for row in data["folds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{path}: not a stored split ({error!r}). Delete it to split again.") from None


def _fold(path: Path, row: dict[str, Any], known: dict[str, Case]) -> Fold:
    sides: dict[str, Any] = {side: tuple(_found(path, entry, known) for entry in row[side]) for side in SIDES}
    adapted: dict[str, Any] = {}
    if "unlabeled" in row:
        found = tuple(_found(path, entry, known) for entry in row["unlabeled"])
        adapted = {"unlabeled": found, "transductive": row["transductive"]}
    return Fold(row["name"], tuple(row["sources"]), tuple(row["targets"]), kind=row["kind"], **sides, **adapted)


def _adapted(fold: Fold) -> dict[str, Any]:
    """Written only where somebody adapts."""
    cases = [{"case": case.key, "patient": case.patient} for case in fold.unlabeled]
    return {"unlabeled": cases, "transductive": fold.transductive}


def _ordered(patients: Iterable[str], seed: int) -> list[str]:
    return sorted(patients, key=lambda patient: derive(seed, "split", patient))


def _declared(cases: Sequence[Case]) -> dict[str, str | None]:
    declared: dict[str, str | None] = {}
    for case in cases:
        if case.split is not None and case.split not in SIDES:
            raise ProtocolError(
                f"Case {case.key!r}: declared split is {case.split!r}; it must be one of {', '.join(SIDES)}, or none."
            )
        known = declared.setdefault(case.patient, case.split)
        if known != case.split:
            raise ProtocolError(
                f"Patient {case.patient!r}: declared in {known or 'no split'} and, with case {case.key!r}, in "
                f"{case.split or 'no split'}; a patient must be on one side. Correct the dataset's list of splits."
            )
    return declared


def _share(patients: Sequence[str], share: float, *, of: int) -> list[str]:
    return list(patients[: max(1, round(share * of))]) if share > 0 else []


def _nothing_left(domain: str, patients: int, tested: int, validated: int) -> str:
    if patients and tested == patients:
        return (
            f"Domain {domain!r}: all {patients} patient(s) are for testing; a source needs patients to train on. "
            "Use it as a target."
        )
    return (
        f"Domain {domain!r}: {patients} patient(s), of which {tested} would test and {validated} validate, and none "
        "would train; a source needs at least 3, one for each. Set protocol.test or protocol.validation to 0, or use "
        "the domain as a target."
    )


def _found(path: Path, entry: dict[str, Any], known: dict[str, Case]) -> Case:
    case = known.get(entry["case"])
    if case is None:
        raise ProtocolError(
            f"{path}: case {entry['case']!r} is not in the dataset any more. Restore it or split again."
        )
    if case.patient != entry["patient"]:
        raise ProtocolError(
            f"{path}: case {case.key!r} was of patient {entry['patient']!r} and is now of {case.patient!r}; the split "
            "would not be by patient. Restore the rule for patient ids, or split again."
        )
    return case
