"""Records as TensorBoard writes them, and every way in which a file can be damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from public_packages import tfrecord
from unshift.errors import DataError
from unshift.formats.tfrecord import read_records

RECORDS = (b"one", b"", b"\0" * 20000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tfrecord(tmp_path / "a.tfrecords", *RECORDS)


def change(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_what_was_written_is_read(path: Path) -> None:
    assert read_records(path) == list(RECORDS)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, "the length of record 1 .from byte 0. has the checksum"),
        (9, "the length of record 1"),
        (13, "record 1 .from byte 0. has the checksum"),
        (16, "record 1"),
        (19, "the length of record 2 .from byte 19."),
        (20000, "record 3 .from byte 35."),
        (-1, "record 3"),
    ],
)
def test_a_turned_bit_is_found_wherever_it_is(path: Path, place: int, message: str) -> None:
    change(path, place)
    with pytest.raises(DataError, match=rf"a.tfrecords: {message}"):
        read_records(path)


@pytest.mark.parametrize(
    ("length", "message"), [(5, "needs 12 bytes and 5 are"), (17, "needs 19 bytes and 17"), (25, "record 2")]
)
def test_a_file_that_is_cut_off(path: Path, length: int, message: str) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=message):
        read_records(path)


def test_other_files(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="compressed with gzip"):
        read_records(path)
    path.write_bytes(b"plain text, no records at all")
    with pytest.raises(DataError, match="or is no TFRecord"):
        read_records(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_records(path)
