"""Folders are found by name at any depth that is searched, and no deeper."""

from __future__ import annotations

from pathlib import Path

from unshift.datasets.places import holds, places


def is_wanted(folder: Path) -> bool:
    return folder.name == "wanted"


def test_found_at_each_depth_and_not_searched_further(tmp_path: Path) -> None:
    for place in ("wanted", "a/wanted", "a/b/wanted", "wanted/wanted", "shut/wanted", "Shut/wanted"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    found = places(tmp_path, is_wanted, depth=2, closed=("shut",))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/wanted", "wanted"]
    assert len(places(tmp_path, is_wanted, depth=3, closed=("shut",))) == 3
    assert places(tmp_path / "wanted", is_wanted, depth=0) == (tmp_path / "wanted",)
    assert holds(tmp_path, is_wanted, depth=1) and not holds(tmp_path / "a" / "b", is_wanted, depth=0)


def test_what_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert not holds(tmp_path / "gone", is_wanted, depth=3)
    (tmp_path / "file").write_bytes(b"")
    assert not holds(tmp_path / "file", is_wanted, depth=3)
