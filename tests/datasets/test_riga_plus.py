"""RIGA+: tables of pairs, six readers of whom the first is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from public_packages import RIGA, disc, write_riga
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.preparing import prepare
from unshift.datasets.riga_plus import MEMBER
from unshift.errors import DataError


@pytest.fixture
def download(tmp_path: Path) -> Path:
    return write_riga(tmp_path / "download")


def test_from_download_to_dataset(download: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looks like the download of riga_plus"):
        recognize(download)
    done = prepare(MEMBER, download, tmp_path / "riga")
    assert done.is_complete and done.problems == ()
    assert recognize(tmp_path / "riga") == ("riga_plus", {})
    dataset = open_dataset(tmp_path / "riga")
    assert dataset.domains == RIGA
    test, train = dataset.cases("MESSIDOR_Base1")
    assert {test.split, train.split} == {"test", "train"}
    assert train.name.startswith("MESSIDOR_Base11_image")
    labels = dataset.read(train).label_map
    assert labels is not None and np.array_equal(labels.numpy(), disc((24, 20), background=0, rim=1, cup=2))


def test_what_a_table_lists_is_required(download: Path) -> None:
    reader = next((download / "RIGA-mask" / "Magrabia").rglob("*-1.tif"))
    reader.unlink()
    (download / "BinRushed_test.csv").unlink()
    (download / "MESSIDOR_Base3_train.csv").write_text("picture\nx\n", encoding="utf-8")
    survey = MEMBER.survey(download)
    assert sorted((p.kind, p.file.name) for p in survey.problems) == [
        ("missing file", reader.name),
        ("missing table", "BinRushed_test.csv"),
        ("no cases", "Magrabia_train.csv" if reader.name == "image3-1.tif" else "Magrabia_test.csv"),
        ("unusable table", "MESSIDOR_Base3_train.csv"),
    ]
    assert {p.severity for p in survey.problems} == {"error"}


def test_counts_are_those_of_the_tables(download: Path) -> None:
    counts = MEMBER.survey(download).counts
    assert [(c.domain, c.split, c.published, c.found) for c in counts[:2]] == [
        ("BinRushed", "train", 1, 1),
        ("BinRushed", "test", 1, 1),
    ]


def test_a_case_listed_twice_is_an_error(download: Path) -> None:
    line = (download / "BinRushed_train.csv").read_text(encoding="utf-8").splitlines()[1]
    with (download / "BinRushed_test.csv").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    (problem,) = MEMBER.survey(download).problems
    assert problem.kind == "doubled case" and "it would be trained on and tested" in problem.what
    assert problem.remedy.startswith("Correct BinRushed_train.csv and BinRushed_test.csv")


@pytest.mark.parametrize(
    "line", ["image.tif,image.tif", ",", "RIGA/BinRushed/a.tif", "RIGA/../../x/a.tif,RIGA-mask/a.tif"]
)
def test_a_line_that_leads_elsewhere_is_named_and_the_others_are_prepared(
    download: Path, tmp_path: Path, line: str
) -> None:
    with (download / "BinRushed_train.csv").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    done = prepare(MEMBER, download, tmp_path / "riga")
    (problem,) = done.problems
    assert (problem.kind, problem.file.name) == ("unusable line", "BinRushed_train.csv")
    assert line.rstrip(",") in problem.what and problem.what.startswith("line 3 is ") and not done.is_complete
    names = [path.name for path in (tmp_path / "riga").rglob("*") if path.parent.name == "images"]
    assert len(names) == 10 and all(not name.startswith(".") for name in names)


def test_a_table_with_other_columns_is_shown(download: Path) -> None:
    (download / "Magrabia_train.csv").write_text("picture;drawing\na;b\n", encoding="utf-8")
    (problem,) = MEMBER.survey(download).problems
    assert "picture;drawing" in problem.what and "image and mask are required" in problem.what
