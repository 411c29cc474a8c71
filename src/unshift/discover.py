"""Families and their members: a file is a member, its file name is its name.

No decorator, no list, no dotted path in a recipe. ``objectives/erm.py`` *is* the objective ``erm``; it ends with
``MEMBER = TheClass``. This module imports nothing heavy, so that ``unshift list`` answers at once.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from typing import Any

from unshift.errors import UnknownName

FAMILIES = (
    "formats",
    "normalizations",
    "augmentations",
    "networks",
    "datasets",
    "embeddings",
    "objectives",
    "plugins",
)
_ROOT = Path(__file__).parent


@functools.cache
def names(family: str) -> tuple[str, ...]:
    """Names of all members of ``family``, sorted. Nothing is imported; files are looked at once a process."""
    if family not in FAMILIES:
        raise UnknownName("family", family, FAMILIES)
    return tuple(sorted(p.stem for p in (_ROOT / family).glob("*.py") if _is_member(p)))


def load(family: str, name: str, *, where: str = "") -> Any:
    """The class that the file ``family/name.py`` calls ``MEMBER``.

    Raises:
        UnknownName: no such file; the message offers the nearest names.
    """
    if name not in names(family):
        raise UnknownName(family.removesuffix("s"), name, names(family), where=where)
    return importlib.import_module(f"unshift.{family}.{name}").MEMBER


def summary(family: str, name: str) -> str:
    """First sentence of the member's module docstring, read without importing it."""
    if name not in names(family):
        raise UnknownName(family.removesuffix("s"), name, names(family))
    text = ast.get_docstring(ast.parse((_ROOT / family / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _is_member(path: Path) -> bool:
    """A member says so in its last statement; other files of a family folder hold what members share."""
    return not path.stem.startswith("_") and "\nMEMBER = " in path.read_text(encoding="utf-8")
