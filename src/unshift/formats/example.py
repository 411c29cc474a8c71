"""The protobuf message ``tf.train.Example`` read from its bytes: named lists of bytes, floats or integers.

Only the wire format is known here (a field's number and kind, then its value), as the protocol-buffers documentation
describes it: Example {1: Features}, Features {1: entry, repeated}, entry {1: name, 2: Feature}, Feature {1: BytesList,
2: FloatList, 3: Int64List}, each list {1: value, repeated or packed}. Fields of other numbers are passed over, as every
protobuf reader does; of a name that stands twice the last one counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from unshift.errors import DataError

Values = tuple[bytes, ...] | tuple[float, ...] | tuple[int, ...]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Field = tuple[int, int, "int | bytes"]


def read_example(message: bytes, path: Path) -> dict[str, Values]:
    """Name -> values.

    Args:
        message: the content of one record.
        path: named in messages.

    Raises:
        DataError: the bytes are no such message, or end within one.
    """
    try:
        return dict(
            _entry(entry)
            for number, features in _inner(message)
            if number == 1
            for inner, entry in _inner(features)
            if inner == 1
        )
    except (_Malformed, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: a record is no tf.train.Example ({error}). Take the file from the published package."
        ) from None


class _Malformed(Exception):
    """The bytes do not follow the wire format."""


def _entry(message: bytes) -> tuple[str, Values]:
    name, values = "", ()  # type: tuple[str, Values]
    for number, content in _inner(message):
        if number == 1:
            name = content.decode("utf-8")
        elif number == 2:
            values = _feature(content)
    return name, values


def _feature(message: bytes) -> Values:
    values: Values = ()
    for number, content in _inner(message):
        fields = [(kind, value) for field, kind, value in _fields(content) if field == 1]
        if number == 1:
            values = tuple(_as_bytes(value) for _, value in fields)
        elif number == 2:
            values = tuple(x for kind, value in fields for x in _floats(kind, value))
        elif number == 3:
            values = tuple(x for kind, value in fields for x in _integers(kind, value))
    return values


def _inner(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields that hold a message or a string."""
    for number, _, value in _fields(message):
        if isinstance(value, bytes):
            yield number, value


def _fields(message: bytes) -> Iterator[_Field]:
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value, place = _take(message, place, size), place + size
        elif kind == _BYTES:
            size, place = _varint(message, place)
            value, place = _take(message, place, size), place + size
        else:
            raise _Malformed(f"wire type {kind} at byte {place}")
        yield number, kind, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number and the byte after it."""
    value = 0
    for index in range(10):
        if place + index >= len(message):
            raise _Malformed(f"it ends within a number at byte {place}")
        byte = message[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise _Malformed(f"a number of more than 10 bytes at byte {place}")


def _take(message: bytes, place: int, size: int) -> bytes:
    if place + size > len(message):
        raise _Malformed(f"{size} bytes are announced at byte {place} and {len(message) - place} are left")
    return message[place : place + size]


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise _Malformed("a list of bytes holds a number")


def _floats(kind: int, value: int | bytes) -> Iterator[float]:
    """One, or a packed list."""
    if isinstance(value, int) or kind == _FIXED64 or len(value) % 4:
        raise _Malformed("a list of floats holds something else")
    yield from struct.unpack(f"<{len(value) // 4}f", value)


def _integers(kind: int, value: int | bytes) -> Iterator[int]:
    """One, or a packed list, as signed 64-bit numbers."""
    if isinstance(value, int):
        yield _signed(value)
        return
    if kind != _BYTES:
        raise _Malformed("a list of integers holds something else")
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        yield _signed(number)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
