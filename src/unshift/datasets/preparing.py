"""From a download to a folder that a dataset opens: case by case, resumable, and the same however often it is run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unshift.datasets.listing import entries, is_folder
from unshift.datasets.prepared import JOURNAL, LEAK_COLUMN, TABLE, PreparedFolders, owner
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey
from unshift.errors import DataError
from unshift.formats.files import read_bytes, write_bytes

_VERSION = 1
"""Of what conversion does; a journal of another one is done again."""


@dataclass(frozen=True)
class Preparation:
    """What :func:`prepare` did.

    Args:
        output: the prepared folder.
        counts: cases published and found, in the owners' order.
        ready: (domain, split) -> cases that stand in ``output``.
        converted: cases written in this call; the others were there.
        problems: every deviation, of the layout and of contents.
    """

    output: Path
    counts: tuple[Count, ...]
    ready: Mapping[tuple[str, str | None], int]
    converted: int
    problems: tuple[Problem, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing that is required is missing; only then is the folder opened as the dataset."""
        return not any(p.severity == "error" for p in self.problems)


def prepare(
    member: type[PreparedFolders],
    source: Path,
    output: Path,
    *,
    listener: Callable[[int, int], None] | None = None,
    accept_leak: bool = False,
) -> Preparation:
    """Make ``output`` of the download at ``source``.

    Every file is written whole or not at all, and a journal says which cases are done from which files, so that the
    same call goes on after a stop and repeats nothing; a case whose source changed is made again, one whose source is
    gone is taken away; of two cases of one name the first is made. ``source`` is only read. The tables that let the
    dataset open ``output`` are written at the end and only when no error was found; with an error, earlier ones are
    removed.

    Args:
        member: the dataset.
        source: the unpacked download.
        output: a new folder, or one that an earlier call made.
        listener: called after each case with the number done and the number in all.
        accept_leak: go on where test cases are also trained on; the tables then say so, and every page that the
            dataset gives its card to.

    Raises:
        DataError: ``source`` is not the download; ``output`` holds something else, or lies in ``source``.
    """
    name = member.__module__.rpartition(".")[2]
    if owner(source) is not None:
        raise DataError(
            f"{source}: was prepared already, as {owner(source)!r}; the unpacked download is required. Give that as "
            "--from, or use this folder as it is."
        )
    survey = member.survey(source)
    done = _claim(output, survey.root, name)
    problems = list(survey.problems)
    ready: dict[str, dict[str, Any]] = {}
    converted = 0
    items = survey.distinct
    for number, item in enumerate(items, start=1):
        entry = _entry(item, survey.root)
        known = done.get(item.key)
        if known is None or not _is_done(known, entry, output):
            _forget(known, output)
            entry = _convert(member, item, entry, survey.root, output)
            converted += bool(entry["files"])
            known = entry
        problems += [_restored(p, survey.root) for p in known["problems"]]
        if known["files"]:
            ready[item.key] = known
        if listener is not None:
            listener(number, len(items))
    for key in done.keys() - {item.key for item in items}:
        _forget(done[key], output)
    leaks = member.leaks(items, {key: entry.get("content", []) for key, entry in ready.items()})
    problems += [replace(p, severity="warning") if accept_leak else p for found in leaks.values() for p in found]
    result = Preparation(output, survey.counts, _ready(items, ready), converted, tuple(member.summed(problems)))
    _write_journal(output, name, ready)
    _write_tables(survey, ready, output, is_complete=result.is_complete, leaking=set(leaks))
    return result


# ------------------------------------------------------------------------------------------------------- one case


def _entry(item: Item, root: Path) -> dict[str, Any]:
    """What decides a case's prepared files."""
    files = {str(path.relative_to(root)): _digest(path) for path in dict.fromkeys((item.image, item.labels))}
    return {"case": item.key, "version": _VERSION, "sources": files, "files": {}, "problems": []}


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, or of a folder's names and contents; None for what cannot be read: its conversion says why."""
    try:
        if is_folder(path):
            inside = "".join(f"{file.name} {_digest(file)}\n" for file in entries(path))
            return hashlib.sha256(inside.encode()).hexdigest()
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except DataError:
        return None


def _is_done(known: Mapping[str, Any], entry: Mapping[str, Any], output: Path) -> bool:
    same = all(known[key] == entry[key] for key in ("version", "sources"))
    return same and bool(known["files"]) and all(_size(output / f) == size for f, size in known["files"].items())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _convert(
    member: type[PreparedFolders], item: Item, entry: dict[str, Any], root: Path, output: Path
) -> dict[str, Any]:
    folder = output / item.domain
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    written, problems = member.convert(item, folder)
    entry = {
        **entry,
        "files": {str(path.relative_to(output)): _size(path) for path in written},
        "problems": [{**p.to_dict(), "file": str(p.file.relative_to(root))} for p in problems],
    }
    content = member.contents(written) if written else []
    entry |= {"content": content} if content else {}
    if written:
        with (output / JOURNAL).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
    return entry


def _restored(problem: Mapping[str, Any], root: Path) -> Problem:
    return Problem(**{**problem, "file": root / problem["file"]})


def _forget(entry: Mapping[str, Any] | None, output: Path) -> None:
    """Remove files that an earlier call made and that are no longer what they should be."""
    for file in entry["files"] if entry else ():
        (output / file).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ the whole folder


def _claim(output: Path, root: Path, name: str) -> dict[str, dict[str, Any]]:
    """The journal of an earlier call, or an empty one in a new folder."""
    place, download = output.resolve(), root.resolve()
    if place == download or download in place.parents or place in download.parents:
        raise DataError(
            f"{output}: lies in the download {root}, or holds it; a folder of its own is required. "
            "Give another --output."
        )
    journal = output / JOURNAL
    if not journal.is_file():
        if output.exists() and (not is_folder(output) or entries(output)):
            raise DataError(
                f"{output}: holds something that was not prepared here; an empty folder is required. "
                "Give another --output."
            )
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{output}: cannot be made ({error.strerror or error}); a folder that can be written to is required. "
                "Give another --output, or see to its rights and to free space."
            ) from None
        write_bytes(journal, (json.dumps({"dataset": name}) + "\n").encode())
        return {}
    lines = [_parsed(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    before = (lines[0] or {}).get("dataset") if lines else None
    if before != name:
        raise DataError(
            f"{output}: was prepared as {before!r}, not as {name!r}; a new folder, or one of the same dataset, is "
            "required. Give another --output."
        )
    known = {line["case"]: line for line in lines[1:] if line is not None}
    if None in lines:  # else the next line would be written behind the half one
        _write_journal(output, name, known)
    return known


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of the journal; None for one that a sudden stop cut off: its case is made again."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write_journal(output: Path, name: str, ready: Mapping[str, Mapping[str, Any]]) -> None:
    """The journal without lines of cases that are gone or were made again."""
    lines = [{"dataset": name}, *(ready[key] for key in sorted(ready))]
    write_bytes(output / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _ready(items: Sequence[Item], ready: Mapping[str, Any]) -> dict[tuple[str, str | None], int]:
    return dict(Counter((item.domain, item.split) for item in items if item.key in ready))


def _write_tables(
    survey: Survey, ready: Mapping[str, Any], output: Path, *, is_complete: bool, leaking: set[str]
) -> None:
    domains = dict.fromkeys(count.domain for count in survey.counts)
    for domain in domains:
        path = output / domain / TABLE
        if is_complete:
            items = [item for item in survey.items if item.domain == domain]
            _write_if_other(path, _table(items, ready, is_leaking=domain in leaking))
        else:
            path.unlink(missing_ok=True)


def _table(items: Sequence[Item], ready: Mapping[str, Mapping[str, Any]], *, is_leaking: bool) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("case", "patient", "domain", "split", "source", "image_sha256", "labels_sha256")
    writer.writerow((*columns, LEAK_COLUMN) if is_leaking else columns)
    for item in sorted(items, key=lambda item: item.name):
        sources = ready[item.key]["sources"]
        (source, image), labels = next(iter(sources.items())), list(sources.values())[-1]
        row = (item.name, item.patient, item.domain, item.split or "", source, image, labels)
        writer.writerow((*row, "accepted") if is_leaking else row)
    return stream.getvalue().encode()


def _write_if_other(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)
