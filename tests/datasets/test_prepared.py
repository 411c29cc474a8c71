"""A prepared folder is opened only when it is whole, and its table says who is who."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from public_packages import write_fundus
from unshift.config import parse
from unshift.datasets.fundus import MEMBER
from unshift.datasets.opening import open_dataset
from unshift.datasets.prepared import JOURNAL, TABLE, owner
from unshift.datasets.preparing import prepare
from unshift.datasets.riga_plus import MEMBER as RIGA
from unshift.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepare(MEMBER, write_fundus(tmp_path / "d"), tmp_path / "p")
    return tmp_path / "p"


def scan(root: Path):
    return MEMBER(parse(MEMBER.Config, {}, where="test"), root).scan


def test_recognized_with_all_tables_and_no_other_domain(root: Path) -> None:
    assert MEMBER.settings_of(root) == {}
    assert not MEMBER.is_download(root) and MEMBER.is_download(root.parent / "d")
    (root / "RIM-ONE-r3" / TABLE).unlink()
    (root / JOURNAL).unlink()
    assert MEMBER.settings_of(root) is None
    assert [(p.kind, p.file.parent.name) for p in scan(root).errors] == [("missing table", "RIM-ONE-r3")]


def test_an_unfinished_preparation_is_known_by_its_journal_and_not_opened_as_any_folder(tmp_path: Path) -> None:
    download = write_fundus(tmp_path / "d")
    shutil.rmtree(download / "Domain3")
    prepare(MEMBER, download, tmp_path / "p")
    assert MEMBER.settings_of(tmp_path / "p") == {} and RIGA.settings_of(tmp_path / "p") is None
    with pytest.raises(DataError, match=r"was not prepared to its end; cases.csv is required.*data prepare` again"):
        len(open_dataset(tmp_path / "p").domains)
    assert owner(tmp_path / "p") == "fundus" and owner(download) is None
    (tmp_path / "p" / JOURNAL).write_text("{", encoding="utf-8")
    assert owner(tmp_path / "p") is None


def test_the_table_gives_patients_and_splits(root: Path) -> None:
    path = root / "Drishti-GS" / TABLE
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[0].split(",")
    cells[1], cells[3] = "someone", "validation"
    path.write_text("\n".join([header, ",".join(cells), *lines[1:]]) + "\n", encoding="utf-8")
    (case,) = (c for c in scan(root).cases if c.name == cells[0])
    assert (case.patient, case.split) == ("someone", "validation")
    assert len(case.metadata["image_sha256"]) == 64


def test_a_table_that_does_not_fit_is_named(root: Path) -> None:
    path = root / "Drishti-GS" / TABLE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",Drishti-GS,test", ",RIM-ONE-r3,test", 1), encoding="utf-8")
    assert [(p.kind, p.file) for p in scan(root).errors] == [("sidecar line", path)]
    path.write_text("\n".join(text.splitlines()[:-1]) + "\n", encoding="utf-8")
    assert [p.kind for p in scan(root).errors] == ["case not in sidecar"]
    path.write_text("case\n", encoding="utf-8")
    assert [p.kind for p in scan(root).errors] == ["unusable table"]
