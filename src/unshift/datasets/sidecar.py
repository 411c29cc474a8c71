"""``domains.csv``: which patient, domain and split each case belongs to, beside a layout that does not say."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unshift.datasets.problem import Problem
from unshift.errors import DataError

_REQUIRED = ("case", "patient", "domain")
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One case's line. ``metadata`` holds the columns that are not named here, empty cells left out."""

    case: str
    patient: str
    domain: str
    split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_sidecar(path: Path, cases: Iterable[str]) -> tuple[dict[str, Row], list[Problem]]:
    """Rows by case, and every finding: faulty lines, cases of ``cases`` without a line, lines without a case.

    Columns ``case``, ``patient``, ``domain`` are required; ``split`` (train, validation, test) and any others may
    follow. The file is UTF-8, with or without a byte-order mark, separated by commas.

    Raises:
        DataError: the file cannot be read, or lacks a required column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns, lines = list(reader.fieldnames or ()), [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); a UTF-8 table with commas is required. Save it so."
        ) from None
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise DataError(
            f"{path}: lacks the column(s) {', '.join(missing)}; found are {found}. Add them to its first line."
        )
    rows: dict[str, Row] = {}
    problems, named = [], set()
    for number, line in lines:
        wrong = _line_fault(line, rows)
        named.add((line.get("case") or "").strip())
        if wrong is None:
            rows[line["case"].strip()] = _row(line)
        else:
            problems.append(Problem("sidecar line", "error", path, f"line {number} {wrong}", "Correct the line."))
    return rows, problems + _differences(path, named - {""}, set(cases))


def _differences(path: Path, named: set[str], cases: set[str]) -> list[Problem]:
    absent = [
        Problem("case not in sidecar", "error", path, f"case {name!r} has no line; each case needs one", "Add it.")
        for name in sorted(cases - named)
    ]
    unknown = [
        Problem("unknown case", "error", path, f"case {name!r} has a line but no image", "Remove it, or add the image.")
        for name in sorted(named - cases)
    ]
    return absent + unknown


def _line_fault(line: Mapping[str | None, str | None], rows: Mapping[str, Row]) -> str | None:
    if None in line or None in line.values():
        return "has more or fewer cells than the first line"
    cells = {key: (value or "").strip() for key, value in line.items()}
    empty = [name for name in _REQUIRED if not cells[name]]
    if empty:
        return f"has no {' and no '.join(empty)}"
    if cells["case"] in rows:
        return f"names case {cells['case']!r} a second time; one line per case is required"
    if cells.get("split") and cells["split"] not in _SPLITS:
        return f"has split {cells['split']!r}; {', '.join(_SPLITS)} or nothing is required"
    return None


def _row(line: Mapping[str, str]) -> Row:
    cells = {key: value.strip() for key, value in line.items()}
    split = cells.pop("split", "") or None
    named = {name: cells.pop(name) for name in _REQUIRED}
    return Row(**named, split=split, metadata={key: value for key, value in cells.items() if value})
