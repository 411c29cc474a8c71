"""What is wrong with a dataset's files: found while scanning, listed all at once, never raised one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from unshift.errors import DataError
from unshift.sample import Case

Severity = Literal["error", "warning", "count"]
_SHOWN = 12


@dataclass(frozen=True)
class Problem:
    """One finding about one file, or about one group of files.

    Args:
        kind: what sort of finding, in a few words, the same for all findings of the sort (``missing mask``).
        severity: ``error`` keeps the dataset from being used; ``warning`` puts results in doubt; ``count`` informs.
        file: the file or folder it is about.
        what: what was found and what is required.
        remedy: what to do.
    """

    kind: str
    severity: Severity
    file: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.remedy}"

    def to_dict(self) -> dict[str, str]:
        """Plain strings, for JSON."""
        return {**asdict(self), "file": str(self.file)}


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Args:
        cases: every image, also one whose mask is missing or doubled: the problems say so.
        domains: names in the dataset's order.
        problems: everything that does not fit the layout.
    """

    domains: tuple[str, ...]
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the dataset from being used."""
        return tuple(p for p in self.problems if p.severity == "error")


def raise_errors(root: Path, problems: Sequence[Problem], *, shown: int = _SHOWN) -> None:
    """Raise one :class:`DataError` that lists the errors among ``problems``, ``shown`` at most; return without any."""
    errors = [p for p in problems if p.severity == "error"]
    if not errors:
        return
    lines = [f"  {p}" for p in errors[:shown]]
    if len(errors) > shown:
        lines.append(f"  … and {len(errors) - shown} more.")
    count = f"{len(errors)} problem{'s' if len(errors) > 1 else ''}"
    command = "`unshift data check` lists all of them"
    raise DataError("\n".join([f"{root}: {count} in its files; every case must be complete ({command}).", *lines]))
