"""What a download holds, seen without opening an image: cases, counts, and all that is not as published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unshift.datasets.listing import entries, is_folder, listing, subfolders
from unshift.datasets.paired import doubled
from unshift.datasets.problem import Problem
from unshift.errors import DataError


@dataclass(frozen=True)
class Item:
    """One case of a download.

    Args:
        name: of the case, unique in its domain; the prepared files bear it.
        domain, patient: as the prepared dataset names them.
        image, labels: the owners' files.
        split: ``train`` or ``test`` where the owners declare it.
    """

    name: str
    domain: str
    patient: str
    image: Path
    labels: Path
    split: str | None = None

    @property
    def key(self) -> str:
        """``domain/name``: unique in a survey."""
        return f"{self.domain}/{self.name}"


@dataclass(frozen=True)
class Count:
    """How many cases of one part of a domain were published and are there.

    Args:
        domain: of the prepared dataset.
        split: ``train``, ``test``, or None where the owners declare no split.
        published: None where no number is known.
        found: pairs that can be prepared.
    """

    domain: str
    split: str | None
    published: int | None
    found: int


@dataclass(frozen=True)
class Survey:
    """A download: its root, complete cases, counts in the owners' order, and every deviation."""

    root: Path
    items: tuple[Item, ...]
    counts: tuple[Count, ...]
    problems: tuple[Problem, ...]

    @property
    def distinct(self) -> tuple[Item, ...]:
        """The first case of each name, in order; :func:`twice` makes errors of the others."""
        first: dict[str, Item] = {}
        for item in self.items:
            first.setdefault(item.key, item)
        return tuple(first.values())


def package_root(source: Path, names: Iterable[str], *, tree: str) -> Path:
    """``source``, or the only folder in it, whichever holds one of ``names``: archives often unpack into a folder.

    Raises:
        DataError: no such folder, or neither holds any of them; shows the expected ``tree``.
    """
    wanted = {name.lower() for name in names}
    if not is_folder(source):
        raise DataError(f"{source}: no such folder; the unpacked download is required.\nExpected:\n{tree}")
    inside = subfolders(source)
    for folder in (source, *inside) if len(inside) == 1 else (source,):
        if any(path.name.lower() in wanted for path in entries(folder)):
            return folder
    raise other_folder(source, tree=tree)


def other_folder(source: Path, *, tree: str) -> DataError:
    """What to say of a folder that is not the download: what it holds, archives to unpack, the expected ``tree``."""
    archives = [path.name for path in entries(source) if path.suffix.lower() in (".zip", ".rar", ".7z", ".gz", ".tar")]
    hint = f" Unpack {', '.join(archives[:3])} first." if archives else ""
    shown = ", ".join(path.name for path in subfolders(source)[:8]) or "no folder"
    return DataError(f"{source}: holds {shown}; the unpacked download is required.{hint}\nExpected:\n{tree}")


def pair(images: Path, labels: Path) -> tuple[dict[str, tuple[Path, Path]], list[Problem]]:
    """Stem -> image and label map of two folders, and what is missing, doubled or strange in them."""
    absent = [folder for folder in (images, labels) if not is_folder(folder)]
    if absent:
        what = "no such folder; it is part of the published package"
        return {}, [Problem("missing folder", "error", folder, what, "Unpack the download again.") for folder in absent]
    sides = listing(images), listing(labels)
    problems = [p for side in sides for p in (*side.problems, *doubled(side))]
    first, second = (side.files for side in sides)
    problems += _alone(first, second, wants=labels, kind="missing label map")
    problems += _alone(second, first, wants=images, kind="missing image")
    both = sorted(first.keys() & second.keys())
    return {s: (first[s][0], second[s][0]) for s in both if len(first[s]) == len(second[s]) == 1}, problems


def _alone(
    these: Mapping[str, Sequence[Path]], others: Mapping[str, Sequence[Path]], *, wants: Path, kind: str
) -> list[Problem]:
    return [
        Problem(
            kind, "error", these[stem][0], f"has no partner {wants / stem}.*, which is required", "Unpack it again."
        )
        for stem in sorted(these.keys() - others.keys())
    ]


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 of names, sorted, one a line: whether a folder holds exactly the published cases."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def twice(items: Iterable[Item], *, remedy: str = "Unpack the download again.") -> list[Problem]:
    """An error for every case that bears the name of another one of its domain; ``remedy`` may say ``{domain}``."""
    seen: dict[str, Item] = {}
    problems = []
    for item in items:
        first = seen.setdefault(item.key, item)
        if first is not item:
            splits = f"{first.split or 'no split'}, here {item.split or 'no split'}"
            leak = ": it would be trained on and tested" if {first.split, item.split} == {"train", "test"} else ""
            what = f"bears the name of {first.image} (there {splits}); each case may stand once{leak}"
            said = remedy.format(domain=item.domain)
            problems.append(Problem("doubled case", "error", item.image, what, said))
    return problems


def miscount(folder: Path, found: int, published: int | None) -> list[Problem]:
    """A warning when the number of cases is not the published one, or an error when there is none."""
    if found == 0:
        return [Problem("no cases", "error", folder, "holds no complete case; some are required", "Unpack it again.")]
    if published is None or found == published:
        return []
    what = f"{found} complete cases were found and {published} are published, so scores compare with no published table"
    return [Problem("other number", "warning", folder, what, "Look for lost or added files.")]


def extra(folder: Path, known: Iterable[str], *, what: str) -> list[Problem]:
    """A warning for every folder of ``folder`` that is not among ``known`` (in any letter case)."""
    names = {name.lower() for name in known}
    remedy = "Nothing need be done; to use it, arrange it for the dataset `folder`."
    return [
        Problem("extra folder", "warning", path, what, remedy)
        for path in subfolders(folder)
        if path.name.lower() not in names
    ]
