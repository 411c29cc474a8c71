"""Every error that a user of unshift can meet.

::

    UnshiftError
    ├── DataError            a file or a case cannot be used as it is
    │   └── ShapeMismatch    two arrays that must share a grid do not
    ├── ConfigError          a recipe or an option is wrong
    │   └── UnknownName      a name that no member, key or domain bears; carries the nearest ones
    ├── ProtocolError        an experiment that would not be honest or is impossible (no target, leaked patient)
    ├── NumericalError       a loss or a weight is not finite
    ├── BundleError          a bundle or a checkpoint is incomplete, damaged or of another version
    └── MissingDependency    an optional package is not installed; says what to install

Each message says *which thing*: *what was found*; *what is required*. *What to do.* The name of a setting stands in
backquotes, ```output``` or ```output: softmax```, so that a command line can put its option there; a path never does.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnshiftError(Exception):
    """Base of all errors that a user, a file or a recipe can cause."""


class DataError(UnshiftError):
    """A file or a case cannot be used as it is."""


class ShapeMismatch(DataError):
    """Two arrays that must share one grid do not."""


class ConfigError(UnshiftError):
    """A recipe, a configuration or an option is wrong."""


class UnknownName(ConfigError):
    """A name that nothing bears. The message offers the nearest names and the full list.

    Args:
        kind: what the name should have been the name of, for example ``objective``.
        name: the name as found.
        known: all names that exist.
        where: file or setting that holds the name.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        place = f"{where}: " if where else ""
        listing = ", ".join(known) if known else "none"
        super().__init__(f"{place}unknown {kind} {name!r}.{hint} Known: {listing}.")
        self.kind, self.name, self.known = kind, name, known


class ProtocolError(UnshiftError):
    """An experiment that is impossible or would not be honest."""


class NumericalError(UnshiftError):
    """A loss, a gradient or a weight is not finite."""


class BundleError(UnshiftError):
    """A bundle or a checkpoint is incomplete, damaged, or of another version."""


class MissingDependency(UnshiftError):
    """An optional package is needed and not installed, or does not work with the installed torch."""
