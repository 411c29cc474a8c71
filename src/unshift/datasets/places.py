"""Folders of a download found by their names, wherever an archive or its owner put them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from unshift.datasets.listing import is_folder, subfolders
from unshift.errors import DataError


def places(
    source: Path, wanted: Callable[[Path], bool], *, depth: int, closed: Collection[str] = ()
) -> tuple[Path, ...]:
    """Folders below ``source`` (or itself) that are ``wanted``, sorted; what is found is not searched further.

    Args:
        source: where to look.
        wanted: decides by name and neighbours; it should not list a folder.
        depth: how far below ``source`` a folder may lie.
        closed: names, in lower case, of folders that are not entered.

    Raises:
        DataError: ``source`` or a folder in it may not be read.
    """
    if wanted(source):
        return (source,)
    if depth == 0:
        return ()
    inside = [folder for folder in subfolders(source) if folder.name.lower() not in closed]
    return tuple(found for folder in inside for found in places(folder, wanted, depth=depth - 1, closed=closed))


def holds(source: Path, wanted: Callable[[Path], bool], *, depth: int, closed: Collection[str] = ()) -> bool:
    """Whether :func:`places` finds anything; False for what cannot be read."""
    try:
        return is_folder(source) and bool(places(source, wanted, depth=depth, closed=closed))
    except DataError:
        return False
