"""Folders as they are: hidden files, links in circles, strays, missing rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unshift.datasets.listing import entries, is_folder, listing, stem_of, subfolders, suffixes
from unshift.errors import DataError


def test_all_formats_endings_are_known() -> None:
    assert {".png", ".jpg", ".tif", ".bmp", ".nii", ".nii.gz", ".dcm"} <= set(suffixes())
    assert suffixes().index(".nii.gz") < suffixes().index(".nii")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.png", "a"), ("a.b.NII.GZ", "a.b"), ("1.2.840.113", "1.2.840.113"), ("ü x.JPG", "ü x"), (".nii", ".nii")],
)
def test_stems(tmp_path: Path, name: str, stem: str) -> None:
    assert stem_of(tmp_path / name, suffixes()) == stem


def test_a_series_folder_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "series.png").mkdir()
    assert stem_of(tmp_path / "series.png", suffixes()) == "series.png"


def test_oddities_are_found_and_the_rest_is_listed(tmp_path: Path) -> None:
    for name in ("a.png", "b.nii.gz", "IM0001", "1.2.840", ".hidden.png", "._a.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1").write_bytes(b"x")
    found = listing(tmp_path)
    assert set(found.files) == {"a", "b", "IM0001", "1.2.840", "linked", "series"}
    kinds = sorted((p.kind, p.severity, p.file.name) for p in found.problems)
    assert kinds == [
        ("broken link", "error", "gone.png"),
        ("broken link", "error", "loop"),
        ("broken link", "error", "self.png"),
        ("stray file", "warning", "notes.txt"),
        ("stray folder", "warning", "empty"),
    ]
    assert {path.name for path in subfolders(tmp_path)} == {"empty", "series"}


def test_a_folder_without_rights_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    found = listing(tmp_path)
    assert not found.is_readable
    assert [(p.kind, p.file) for p in found.problems] == [("unreadable folder", tmp_path)]
    assert "Permission denied" in found.problems[0].what
    assert found.problems[0].remedy == "Check the path and the rights."


def test_a_file_that_may_not_be_looked_at_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_symlink", refuse)
    assert [p.kind for p in listing(tmp_path).problems] == ["unreadable file"]
    assert not is_folder(tmp_path / "a.png")


def test_what_is_no_folder_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be listed \(No such file.*a readable folder is required"):
        entries(tmp_path / "gone")
