"""Bytes in and bytes out: every fault of a file becomes a DataError that names it, and nothing half-written remains."""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
import uuid
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unshift.errors import DataError

logger = logging.getLogger(__name__)
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.]+")
_warned: set[tuple[Path, str]] = set()
_IN_MEMORY = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")

DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""What decoders were seen to raise on damaged input. Only third-party decoding runs under this net."""


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder rather than a regular file.

    Raises:
        DataError: nothing is there, a link ends in a loop or nowhere, it is a pipe or device, or rights are missing.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        what = "a link to something that does not exist" if path.is_symlink() else "no such file"
        raise DataError(f"{path}: {what}; an image or label map is required. Check the path.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be reached ({_reason(error)}). Check the path, links and rights.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: a pipe, socket or device; a regular file or folder is required. Copy it to a file.")
    return stat.S_ISDIR(mode)


def read_head(path: Path, size: int) -> bytes:
    """At most the first ``size`` bytes. Raises :class:`DataError` as :func:`read_bytes` does."""
    _require_file(path)
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise _unreadable(path, error) from None


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        DataError: missing, a folder, empty, without read permission, or behind a link that loops.
    """
    _require_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not data:
        raise DataError(f"{path}: the file is empty (0 bytes). Copy it again from its source.")
    return data


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside ``path`` under a temporary name, then rename: readers see the old file or the new one, whole.

    Raises:
        DataError: the folder does not exist, or cannot be written to.
    """
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({_reason(error)}). Check folder, rights and free space.") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def decoding(path: Path, kind: str, *also: type[Exception]) -> Iterator[None]:
    """Run a third-party decoder: its errors become a DataError that names ``path``; its warnings go to the log.

    Of each kind, whatever values it quotes, the first file of a folder is warned of; the others are logged as debug.

    Args:
        path: named in the message.
        kind: what the file should be, for example ``PNG image``.
        also: the decoder's own exceptions, beyond :data:`DECODER_ERRORS`.
    """
    caught: list[warnings.WarningMessage] = []
    expected: tuple[type[Exception], ...] = (*DECODER_ERRORS, *also)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except DataError:
        raise
    except expected as error:
        raise DataError(
            f"{path}: not a complete, valid {kind} ({_reason(error)}). Copy it again from its source, or remove it."
        ) from error
    for warning in caught:
        same = (path.parent, _VALUES.sub("…", str(warning.message)))
        level = logging.DEBUG if same in _warned else logging.WARNING
        _warned.add(same)
        logger.log(level, "%s: %s", path, warning.message)


def _require_file(path: Path) -> None:
    if is_folder(path):
        raise DataError(f"{path}: a folder; a file is required. Give the path of a file in it.")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({_reason(error)}). Check its rights and the disk.")


def _reason(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    text = _IN_MEMORY.sub("", " ".join(text.split()))  # the caller names the file
    return text.rstrip(".")[:300]
