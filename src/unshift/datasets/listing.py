"""What stands in a folder, with every oddity of real file systems named: hidden files, loops, missing rights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from unshift import discover
from unshift.datasets.problem import Problem
from unshift.errors import DataError

_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass
class Listing:
    """The readable entries of a folder by stem, and what is wrong with the others."""

    files: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_readable: bool = True


def entries(folder: Path) -> list[Path]:
    """Entries of ``folder`` sorted by name, without hidden files and those that operating systems leave.

    Raises:
        DataError: it is missing, is not a folder, or may not be read.
    """
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}); a readable folder is required. "
            "Check the path and the rights."
        ) from None
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in _LEFT_BY_SYSTEMS]


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, or a link to one that does not lead back to where the link stands."""
    try:
        return path.is_dir() and not _is_loop(path)
    except OSError:  # no right to look; whoever lists the parent reports it
        return False


def subfolders(folder: Path) -> list[Path]:
    """Folders in ``folder``, without links that lead back to it or above it."""
    return [path for path in entries(folder) if is_folder(path)]


def unreadable(folder: Path, error: DataError) -> Problem:
    """The finding for a folder that :func:`entries` refused."""
    what, _, remedy = str(error).removeprefix(f"{folder}: ").partition(". ")
    return Problem("unreadable folder", "error", folder, what, remedy)


def suffixes() -> tuple[str, ...]:
    """Lower-case endings of all formats, longest first; DICOM's customary ones included."""
    known = {s for name in discover.names("formats") for s in discover.load("formats", name).suffixes}
    return tuple(sorted(known | set(_DICOM_SUFFIXES), key=lambda s: (-len(s), s)))


def stem_of(path: Path, endings: Iterable[str]) -> str:
    """The name without the format's ending: ``a.b.nii.gz`` -> ``a.b``; a DICOM series folder keeps its whole name."""
    if path.is_dir():
        return path.name
    name = path.name
    return next((name[: -len(e)] for e in endings if name.lower().endswith(e) and len(name) > len(e)), name)


def listing(folder: Path) -> Listing:
    """Images (or masks) in ``folder`` by stem. Nothing is opened; DICOM series are folders.

    Never raises for what a folder holds: the findings are in ``problems``.
    """
    result, endings = Listing(), suffixes()
    try:
        found = entries(folder)
    except DataError as error:
        return Listing(problems=[unreadable(folder, error)], is_readable=False)
    for path in found:
        try:
            problem = _oddity(path, endings)
        except OSError as error:
            reason = f"cannot be looked at ({error.strerror}); a readable file is required"
            problem = Problem("unreadable file", "error", path, reason, "Check its rights and those of its folder.")
        if problem is None:
            result.files.setdefault(stem_of(path, endings), []).append(path)
        else:
            result.problems.append(problem)
    return result


def _oddity(path: Path, endings: tuple[str, ...]) -> Problem | None:
    if path.is_symlink() and (_is_loop(path) or not path.exists()):
        return Problem(
            "broken link", "error", path, "a link that leads nowhere or in a circle; a file is required", "Remove it."
        )
    if path.is_dir():
        return _folder_oddity(path)
    suffix = path.suffix.lower()
    is_bare = suffix == "" or suffix.lstrip(".").isdigit()  # DICOM files often bear a UID without an ending
    if not is_bare and not path.name.lower().endswith(endings):
        what = f"the ending {suffix!r} belongs to no known format ({', '.join(endings)}), so the file is left out"
        return Problem("stray file", "warning", path, what, "Convert it, or move it elsewhere.")
    return None


def _folder_oddity(path: Path) -> Problem | None:
    try:
        holds_files = any(p.is_file() for p in entries(path))
    except DataError as error:
        return unreadable(path, error)
    if not holds_files:
        what = "a folder without files; a folder among images must be a DICOM series"
        return Problem("stray folder", "warning", path, what, "Remove it, or move its images up.")
    return None


def _is_loop(path: Path) -> bool:
    """Whether ``path`` is a link to itself, to its own folder or to one above."""
    if not path.is_symlink():
        return False
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # ELOOP is a RuntimeError before Python 3.13
        return True
    here = path.parent.resolve()
    return target == here or target in here.parents
