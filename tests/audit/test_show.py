"""The contact sheet as a file: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unshift.audit.show import show
from unshift.config import parse
from unshift.datasets.folder import MEMBER
from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError, DataError


def opened(root: Path):
    return MEMBER(parse(MEMBER.Config, {}, where="test"), root)


def test_it_writes_one_row_per_domain(pairs, tmp_path: Path) -> None:
    dataset = opened(pairs({"A": [str(i) for i in range(9)], "B": ["1"]}, shape=(20, 30, 3)))
    path = show(dataset, tmp_path / "sheet.png", examples=4)
    with Image.open(path) as one:
        assert one.width > one.height > 400
        colors = np.asarray(one.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) > 100
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["sheet.png"]


def test_unlabeled_and_unreadable_cases_are_shown_as_such(pairs, write, tmp_path: Path, caplog) -> None:
    root = pairs({"A": ["1", "2"]})
    write("B/images/1.png", np.zeros((9, 9)))
    (root / "A" / "images" / "2.png").write_bytes(b"broken")
    show(opened(root), tmp_path / "sheet.svg")
    assert "2.png" in caplog.text
    assert (tmp_path / "sheet.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_what_cannot_be_written(pairs, tmp_path: Path) -> None:
    dataset = opened(pairs({"A": ["1"]}))
    with pytest.raises(ConfigError, match=r"sheet.jpg: ends in '.jpg'; .png, .pdf, .svg are required"):
        show(dataset, tmp_path / "sheet.jpg")
    with pytest.raises(ConfigError, match="examples is 0"):
        show(dataset, tmp_path / "sheet.png", examples=0)
    with pytest.raises(DataError, match=r"gone/sheet.png: cannot be written"):
        show(dataset, tmp_path / "gone" / "sheet.png")


@pytest.mark.real
@pytest.mark.parametrize("name", ["breast_us", "spinalcord_gm_mri_3d"])
def test_real_sheets(real_data: Path, tmp_path: Path, name: str) -> None:
    assert show(open_dataset(real_data / name), tmp_path / "sheet.png").stat().st_size > 100_000
