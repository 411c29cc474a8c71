"""TFRecord files without TensorFlow: the framing of records, with both checksums compared.

A record is its length (8 bytes, little endian), the masked CRC-32C of those 8 bytes, the content, and the masked
CRC-32C of the content. What the content means is not said in the file; :mod:`unshift.formats.example` reads the usual
kind.
"""

from __future__ import annotations

import struct
from pathlib import Path

from unshift.errors import DataError
from unshift.formats.crc32c import masked_crc32c
from unshift.formats.files import read_bytes

_HEAD, _TAIL = 12, 4


def read_records(path: Path) -> list[bytes]:
    """The contents of all records of a file.

    Raises:
        DataError: missing, empty, compressed, cut off, or a checksum does not fit; names the record and the byte.
    """
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        raise DataError(f"{path}: is compressed with gzip; plain TFRecords are read. Unpack it with gunzip.")
    records: list[bytes] = []
    start = 0
    while start < len(data):
        record = _record(data, start, number=len(records) + 1, path=path)
        records.append(record)
        start += _HEAD + len(record) + _TAIL
    return records


def _record(data: bytes, start: int, *, number: int, path: Path) -> bytes:
    head = data[start : start + _HEAD]
    if len(head) < _HEAD:
        raise _cut_off(path, number, start, _HEAD, len(head))
    (length,), stored = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])[0]
    _compare(head[:8], stored, f"the length of record {number}", start, path)
    end = start + _HEAD + length + _TAIL
    if end > len(data):
        raise _cut_off(path, number, start, _HEAD + length + _TAIL, len(data) - start)
    content = data[start + _HEAD : end - _TAIL]
    _compare(content, struct.unpack("<I", data[end - _TAIL : end])[0], f"record {number}", start, path)
    return content


def _compare(content: bytes, stored: int, what: str, start: int, path: Path) -> None:
    found = masked_crc32c(content)
    if found != stored:
        raise DataError(
            f"{path}: {what} (from byte {start}) has the checksum {found:08x}, and {stored:08x} is stored; the file is "
            "damaged, or is no TFRecord. Copy it again from its source."
        )


def _cut_off(path: Path, number: int, start: int, needed: int, found: int) -> DataError:
    return DataError(
        f"{path}: record {number} (from byte {start}) needs {needed} bytes and {found} are left; the file is cut off. "
        "Copy it again from its source."
    )
