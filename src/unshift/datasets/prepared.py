"""Datasets that `unshift data prepare` makes of a download: pairs by domain, with a table of patients and splits."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from unshift.datasets.leaks import LEAK, same_content, same_patient
from unshift.datasets.listing import is_folder
from unshift.datasets.paired import PairedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.sidecar import Row, read_sidecar
from unshift.datasets.survey import Item, Survey
from unshift.errors import DataError
from unshift.sample import Case

TABLE = "cases.csv"
JOURNAL = ".prepared.jsonl"
"""Of a preparation: its first line says of which dataset, the others which cases are done."""
LEAK_COLUMN = "leak"
"""Stands in the table of a domain whose test cases are also trained on, where that was accepted."""
PREPARED_TREE = """\
  <root>/<domain>/images/<case>.*         what `unshift data prepare` made of the download
  <root>/<domain>/masks/<case>.*          labels 0, 1, …
  <root>/<domain>/cases.csv               case, patient, domain, split, source, checksums"""


class PreparedFolders(PairedFolders):
    """Pairs whose patients and splits stand in ``<domain>/cases.csv``.

    The table is written last, when every case of every domain is there: a preparation that was stopped, or that lacks
    something, is never opened as if it were whole.
    """

    tree = PREPARED_TREE
    marks: ClassVar[tuple[str, ...]]
    """Names in the download's root by which it is known."""
    counted: ClassVar[str] = "published"
    """What :attr:`Count.published` is a number of, as the head of a table: ``published`` or ``listed``."""

    def __init__(self, config: Any, root: Path | None = None) -> None:
        super().__init__(config, root)
        leaking = [domain for domain in self.published if _is_leaking(self.folder / domain / TABLE)]
        if leaking:
            defects = f"TEST CASES ARE ALSO TRAINED ON in {', '.join(leaking)}, which was accepted when the dataset was"
            self.card = replace(self.card, defects=f"{defects} prepared. {self.card.defects}")  # type: ignore[misc]

    @classmethod
    @abstractmethod
    def survey(cls, source: Path) -> Survey:
        """What the download at ``source`` holds; findings are returned, not raised.

        Raises:
            DataError: ``source`` is no folder, or nothing in it resembles the download.
        """

    @classmethod
    @abstractmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """Write ``<folder>/images`` and ``<folder>/masks`` of one case, each file whole or not at all.

        Returns:
            The files, and all findings about the content; with an error among them there are no files.
        """

    @classmethod
    def contents(cls, files: Sequence[Path]) -> list[str]:
        """Digests of what a case shows, from the files of :meth:`convert`, by which doubled cases are found.

        The default is none: cases are then told apart by patient alone.
        """
        return []

    @classmethod
    def summed(cls, problems: Sequence[Problem]) -> list[Problem]:
        """Findings as they are said to people: a member may make one of those that every case of a folder has."""
        return list(problems)

    @classmethod
    def leaks(cls, items: Sequence[Item], contents: Mapping[str, Sequence[str]]) -> dict[str, list[Problem]]:
        """By domain, errors for test cases that are also trained on: by patient, and by content."""
        found = same_patient(items)
        for domain, problems in same_content(items, contents).items():
            found.setdefault(domain, []).extend(problems)
        return found

    @classmethod
    def settings_of(cls, root: Path) -> dict[str, Any] | None:
        """Recognized by its domains, all of them and no other, each with its table; unfinished, by its journal."""
        if cls.is_unfinished(root):
            return {}
        settings = super().settings_of(root)
        complete = settings is not None and all((root / domain / TABLE).is_file() for domain in cls.published)
        return settings if complete else None

    @classmethod
    def is_unfinished(cls, root: Path) -> bool:
        """Whether a preparation of this dataset was stopped in ``root``, or found errors there."""
        there = [domain for domain in cls.published if is_folder(root / domain / "images")]
        lacking = not there or any(not (root / domain / TABLE).is_file() for domain in there)
        return lacking and owner(root) == cls.__module__.rpartition(".")[2]

    @classmethod
    def is_download(cls, root: Path) -> bool:
        """Whether ``root`` looks like what the owners publish, before it was prepared."""
        return all((root / name).exists() for name in cls.marks) and not any(
            is_folder(root / domain / "images") for domain in cls.published
        )

    @classmethod
    def unprepared(cls, root: Path) -> DataError:
        """What to say to whoever gives the download where what is made of it is required."""
        name = cls.__module__.rpartition(".")[2]
        return DataError(
            f"{root}: looks like the download of {name}; what is made of it is required. "
            f"Run `unshift data prepare {name} --from {root}`."
        )

    def _domains(self) -> tuple[str, ...]:
        if self.is_download(self.folder):
            raise self.unprepared(self.folder)
        if self.is_unfinished(self.folder):
            raise DataError(
                f"{self.root}: was not prepared to its end; {TABLE} is required in every domain's folder, and is "
                "written when the preparation is complete. Run the same `unshift data prepare` again: it goes on where "
                "it stopped, and says what is missing."
            )
        return super()._domains()

    def _domain(self, domain: str) -> tuple[list[Case], list[Problem]]:
        cases, problems = super()._domain(domain)
        path = self.folder / domain / TABLE
        if not path.is_file():
            what = "no such file; it is written when the preparation is complete"
            remedy = "Run `unshift data prepare` again; it goes on where it stopped."
            return cases, [*problems, Problem("missing table", "error", path, what, remedy)]
        try:
            rows, wrong = read_sidecar(path, [case.name for case in cases])
        except DataError as error:
            what, _, remedy = str(error).removeprefix(f"{path}: ").partition(". ")
            return cases, [*problems, Problem("unusable table", "error", path, what, remedy)]
        problems += wrong
        for row in rows.values():
            if row.domain != domain:
                what = f"case {row.case!r} is of domain {row.domain!r}; {domain!r} is required"
                problems.append(Problem("sidecar line", "error", path, what, "Prepare the dataset again."))
        if _is_leaking(path):
            what = "test cases of this domain are also trained on, which was accepted when it was prepared"
            problems.append(Problem(LEAK, "warning", path, what, "Compare nothing that was trained on this domain."))
        return [_with_row(case, rows[case.name]) for case in cases if case.name in rows], problems


def _with_row(case: Case, row: Row) -> Case:
    return replace(case, patient=row.patient, split=row.split, metadata=row.metadata)


def owner(root: Path) -> str | None:
    """The dataset of which ``root`` was prepared, by its journal; None where there is none that can be read."""
    try:
        with (root / JOURNAL).open(encoding="utf-8") as stream:
            found = json.loads(stream.readline())
    except (OSError, ValueError):
        return None
    return found.get("dataset") if isinstance(found, dict) else None


def _is_leaking(table: Path) -> bool:
    """Whether the table's first line names the column of accepted leaks."""
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as stream:
        return LEAK_COLUMN in stream.readline().strip().split(",")
