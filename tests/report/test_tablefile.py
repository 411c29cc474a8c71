from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unshift.report.grid import Cell, Column, Row, Table
from unshift.report.table import all_tables, headline_table
from unshift.report.tablefile import as_csv, as_latex, as_markdown, escape_latex, replace_text, write_tables

HOSTILE = r"50% of A & B_1 {#$^~} \x | *<script>*"
TABLE = Table(
    "t",
    "Title",
    "Caption of 95 %",
    "pipeline",
    (Column("A", "in-domain"), Column("B", "unseen"), Column(HOSTILE, "unseen")),
    (
        Row("base_line", (Cell("90.0", ("88.0 to 92.0", "n 4")), Cell("−1.5"), Cell("–")), "rim"),
        Row(HOSTILE, (Cell("1.0"), Cell("2.0", is_bold=True), Cell("3.0")), "cup"),
    ),
    pd.DataFrame({"pipeline": ["base_line", HOSTILE], "mean": [0.123456789012, -0.015]}),
)


def test_csv_keeps_full_precision_and_any_name(full_report: Any) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(as_csv(TABLE))), TABLE.frame)
    for table in all_tables(full_report):
        back = pd.read_csv(io.StringIO(as_csv(table)), dtype={"unit": str})
        pd.testing.assert_frame_equal(back, table.frame.reset_index(drop=True), check_dtype=False)


def test_the_oracle_is_a_column_of_the_csv(make_report: Any) -> None:
    table = headline_table(make_report(is_oracle=True))
    assert pd.read_csv(io.StringIO(as_csv(table)))["oracle"].all()


def test_markdown_has_one_width_and_escapes() -> None:
    lines = [line for line in as_markdown(TABLE).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert "**2.0**" in lines[-1]
    assert r"\<script\>" in as_markdown(TABLE)
    assert "<script>" not in as_markdown(TABLE)
    assert as_markdown(TABLE).startswith("### Title\n\n| pipeline | A (in-domain) |")


def test_latex_has_one_width_booktabs_and_escapes() -> None:
    text = as_latex(TABLE)
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3}
    for rule in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\begin{tabular}{lrrr}",
        r"\cmidrule(lr){2-2} \cmidrule(lr){3-4}",
    ):
        assert rule in text
    assert r"\textbf{2.0}" in text
    assert "$-$1.5" in text
    assert "95 \\%" in text
    assert r"90.0 {\footnotesize (88.0 to 92.0; n 4)}" in text


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("a_b", r"a\_b"),
        ("\\", r"\textbackslash{}"),
        ("{x}", r"\{x\}"),
        ("1–2", "1--2"),
        ("a\nb", "a b"),
        ("±", r"$\pm$"),
    ],
)
def test_latex_escapes(raw: str, safe: str) -> None:
    assert escape_latex(raw) == safe


def test_latex_leaves_no_special_character_alone() -> None:
    assert not re.search(r"(?<!\\)[&%#_]", escape_latex(HOSTILE))
    assert escape_latex(HOSTILE).isascii()


def test_all_files_are_written_whole(tmp_path: Path, full_report: Any) -> None:
    written = write_tables(tmp_path / "tables", all_tables(full_report))
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == sorted(p.name for p in written)
    assert {p.suffix for p in written} == {".csv", ".md", ".tex"}
    assert len(written) == 3 * 4


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")
    assert replace_text(path, "neu–\n") == path
    assert path.read_bytes() == "neu–\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_replayed_protocol_is_a_column_of_every_csv(make_report: Any, tmp_path: Path) -> None:
    report = make_report(replayed=("One thing.", "Another."))
    for path in write_tables(tmp_path, all_tables(report), replayed=report.replayed):
        if path.suffix == ".csv":
            assert (pd.read_csv(path)["replay"] == "One thing. Another.").all()
        else:
            assert "One thing. Another." in path.read_text(encoding="utf-8")
    assert "replay" not in pd.read_csv(io.StringIO(as_csv(headline_table(make_report())))).columns
