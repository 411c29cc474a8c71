"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.evaluate.files import write_whole


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", lambda draft: draft.write_text("x"))
    assert (tmp_path / "a" / "b.txt").read_text() == "x"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("old")

    def half(draft: Path) -> None:
        draft.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_whole(path, half)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]
