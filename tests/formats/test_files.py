from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import pytest

from unshift.errors import DataError
from unshift.formats.files import decoding, is_folder, read_bytes, read_head, write_bytes


def test_round_trip_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ä b.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new content")
    assert read_bytes(path) == b"new content" and read_head(path, 3) == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a.bin: cannot be written \(No space left on device\)"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/a.bin: cannot be written"):
        write_bytes(tmp_path / "nowhere" / "a.bin", b"x")
    assert not list(tmp_path.iterdir())


def test_kinds_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    os.mkfifo(tmp_path / "pipe")
    assert is_folder(tmp_path) and not is_folder(tmp_path / "a")
    for name, words in {
        "gone": "no such file",
        "dangling": "a link to something that does not exist",
        "one": "cannot be reached .*symbolic links",
        "pipe": "a pipe, socket or device",
        "n" * 300: "cannot be reached",
        "a/b": "cannot be reached",
        "nu\0l": "cannot be reached",
    }.items():
        with pytest.raises(DataError, match=words):
            is_folder(tmp_path / name)


def test_empty_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(DataError, match=r"a: the file is empty \(0 bytes\)"):
        read_bytes(tmp_path / "a")
    with pytest.raises(DataError, match="a folder; a file is required"):
        read_bytes(tmp_path)
    with pytest.raises(DataError, match="a folder; a file is required"):
        read_head(tmp_path, 10)


def test_decoding_names_the_file_and_keeps_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Exception):
        pass

    with (
        pytest.raises(DataError, match=r"x.png: not a complete, valid PNG \(bad\)\. Copy") as caught,
        decoding(Path("x.png"), "PNG", Odd),
    ):
        raise Odd("bad")
    assert isinstance(caught.value.__cause__, Odd)
    with pytest.raises(DataError, match="^own words$"), decoding(Path("x.png"), "PNG"):
        raise DataError("own words")
    with pytest.raises(Odd), decoding(Path("x.png"), "PNG"):
        raise Odd
    with caplog.at_level(logging.WARNING), decoding(Path("x.png"), "PNG"):
        warnings.warn("a strange header", UserWarning, stacklevel=1)
    assert caplog.messages == ["x.png: a strange header"]


def test_a_folder_is_warned_of_once_a_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a series of thousand slices pydicom says the same a thousand times, each time with another value."""

    def read(path: Path, *messages: str) -> None:
        with decoding(path, "DICOM file"):
            for message in messages:
                warnings.warn(message, UserWarning, stacklevel=1)

    with caplog.at_level(logging.WARNING):
        for number in range(3):
            read(tmp_path / "a" / f"{number}.dcm", f"Invalid value for VR UI: '1.2.{number}'.", f"length {number}")
        read(tmp_path / "b" / "0.dcm", "Invalid value for VR UI: '1.2.9'.")
    assert caplog.messages == [
        f"{tmp_path}/a/0.dcm: Invalid value for VR UI: '1.2.0'.",
        f"{tmp_path}/a/0.dcm: length 0",
        f"{tmp_path}/b/0.dcm: Invalid value for VR UI: '1.2.9'.",
    ]
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        read(tmp_path / "a" / "7.dcm", "length 7")
    assert caplog.messages == [f"{tmp_path}/a/7.dcm: length 7"]
