"""domains.csv: every faulty line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.datasets.sidecar import Row, read_sidecar
from unshift.errors import DataError


def write(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "domains.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_split_and_metadata(tmp_path: Path, encoding: str) -> None:
    text = 'case,patient,domain,split,vendor,site\r\na,p1,"Köln, Nord",test,GE,\r\n b ,p1,X,,,\r\n'
    rows, problems = read_sidecar(write(tmp_path, text, encoding), ["a", "b"])
    assert problems == []
    assert rows == {"a": Row("a", "p1", "Köln, Nord", "test", {"vendor": "GE"}), "b": Row("b", "p1", "X", None, {})}


def test_all_faults_are_listed(tmp_path: Path) -> None:
    text = "case,patient,domain,split\na,p,A,\na,p,A,\nb,,A,\nc,p,A,testing\nd,p\nzz,p,A,\n"
    rows, problems = read_sidecar(write(tmp_path, text), ["a", "b", "c", "d", "e"])
    assert set(rows) == {"a", "zz"}
    assert [p.what for p in problems] == [
        "line 3 names case 'a' a second time; one line per case is required",
        "line 4 has no patient",
        "line 5 has split 'testing'; train, validation, test or nothing is required",
        "line 6 has more or fewer cells than the first line",
        "case 'e' has no line; each case needs one",
        "case 'zz' has a line but no image",
    ]
    assert {p.severity for p in problems} == {"error"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case;patient\n", r"lacks the column\(s\) case, patient, domain; found are case;patient"),
        ("", "found are none"),
    ],
)
def test_missing_columns(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_sidecar(write(tmp_path, text), [])


def test_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a UTF-8 table with commas is required"):
        read_sidecar(write(tmp_path, "case,patient,domain\nö,p,A\n", "latin-1"), ["ö"])
