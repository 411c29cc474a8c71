"""What a download holds is found without opening an image, and every deviation has its own line."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from public_packages import save
from unshift.datasets.survey import Item, Survey, extra, miscount, names_digest, package_root, pair, twice
from unshift.errors import DataError

GREY = np.zeros((2, 2), np.uint8)


def test_the_root_may_be_one_folder_deeper_as_archives_unpack(tmp_path: Path) -> None:
    (tmp_path / "Fundus" / "Domain1").mkdir(parents=True)
    assert package_root(tmp_path, ["domain1"], tree="TREE") == tmp_path / "Fundus"
    assert package_root(tmp_path / "Fundus", ["Domain1"], tree="TREE") == tmp_path / "Fundus"
    (tmp_path / "other").mkdir()
    with pytest.raises(
        DataError, match=r"(?s)holds Fundus, other; the unpacked download is required\.\nExpected:\nTREE"
    ):
        package_root(tmp_path, ["Domain1"], tree="TREE")
    with pytest.raises(DataError, match="gone: no such folder; the unpacked download is required"):
        package_root(tmp_path / "gone", ["Domain1"], tree="TREE")
    (tmp_path / "fundus.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"Unpack fundus\.zip first"):
        package_root(tmp_path, ["Domain1"], tree="TREE")


def test_pairs_and_all_that_does_not_pair(tmp_path: Path) -> None:
    for place in ("image/a.png", "mask/a.png", "image/b.png", "mask/c.png", "image/d.png", "image/d.bmp", "mask/d.png"):
        save(tmp_path / place, GREY)
    found, problems = pair(tmp_path / "image", tmp_path / "mask")
    assert found == {"a": (tmp_path / "image" / "a.png", tmp_path / "mask" / "a.png")}
    assert sorted((p.kind, p.file.name) for p in problems) == [
        ("doubled file", "d.bmp"),
        ("missing image", "c.png"),
        ("missing label map", "b.png"),
    ]
    found, problems = pair(tmp_path / "image", tmp_path / "masks")
    assert not found
    assert [(p.kind, p.severity, p.file.name) for p in problems] == [("missing folder", "error", "masks")]


def test_counts_and_names(tmp_path: Path) -> None:
    assert [p.severity for p in miscount(tmp_path, 0, None)] == ["error"]
    assert miscount(tmp_path, 3, None) == miscount(tmp_path, 3, 3) == []
    (other,) = miscount(tmp_path, 2, 3)
    assert (other.kind, other.severity) == ("other number", "warning")
    assert "2 complete cases were found and 3 are published" in other.what
    assert names_digest(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_extra_folders_and_doubled_names(tmp_path: Path) -> None:
    for name in ("HK", "hk2"):
        (tmp_path / name).mkdir()
    assert [p.file.name for p in extra(tmp_path, ["hk"], what="unknown")] == ["hk2"]
    first, second = (Item("1", "A", "A/1", Path(f"{side}.png"), Path("m.png")) for side in "xy")
    assert [p.file.name for p in twice([first, second])] == ["y.png"]
    assert twice([first]) == []


def test_of_two_cases_of_one_name_the_first_counts_and_a_leak_is_called_one() -> None:
    train, test, other = (
        Item("1", "A", "A/1", Path("x.png"), Path("m.png"), "train"),
        Item("1", "A", "A/1", Path("y.png"), Path("m.png"), "test"),
        Item("1", "B", "B/1", Path("z.png"), Path("m.png"), "test"),
    )
    assert Survey(Path(), (train, test, other), (), ()).distinct == (train, other)
    (problem,) = twice([train, test, other], remedy="Correct {domain}_test.csv.")
    assert "x.png (there train, here test); each case may stand once: it would be trained on and tested" in problem.what
    assert problem.remedy == "Correct A_test.csv." and problem.severity == "error"
    (again,) = twice([train, replace(train, image=Path("w.png"))])
    assert "trained on and tested" not in again.what
