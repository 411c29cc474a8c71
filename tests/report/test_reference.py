"""References in the report: counts and warnings by pipeline and domain, and small pictures of those at hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from unshift.report.content import Report, ShownReference
from unshift.report.page import render
from unshift.report.reference import SWATCH, reference_table, swatch

ROWS = [
    ("B", "c1", "global", "A/7", np.nan, ""),
    ("B", "c1", "local", "A/3", 0.91, ""),
    ("B", "c2", "global", "A/7", np.nan, ""),
    ("B", "c2", "local", "A/4", 0.75, "no similar source image: cosine 0.750, usually at least 0.800"),
    ("B", "c3", "global", "A/7", np.nan, ""),
    ("B", "c3", "local", "A/3", 0.85, ""),
]


def with_references(report: Report) -> Report:
    columns = ["domain", "case", "kind", "reference", "likeness", "warning"]
    frame = pd.DataFrame(ROWS, columns=columns).assign(pipeline=report.baseline, fold="B")
    shown = ShownReference("local", "A/<4>", 0.75, "no similar source image", np.ones((3, 200, 300)) * 0.5)
    first, *others = report.gallery
    return dataclasses.replace(
        report, references=frame, gallery=[dataclasses.replace(first, references=[shown]), *others]
    )


def test_the_table_counts_images_and_warnings(full_report: Report) -> None:
    table = reference_table(with_references(full_report))
    assert [column.label for column in table.columns] == ["global", "local", "images warned of"]
    [row] = table.rows
    assert (row.head, row.group) == (full_report.baseline, "B")
    assert [cell.text for cell in row.cells] == ["1", "2", "1 of 3"]
    assert row.cells[1].details == ("A/3, 2 of 3", "cosine 0.85, least 0.75")
    assert row.cells[2].details == ("no similar source image",)
    assert len(table.frame) == 6


def test_a_swatch_is_small_and_there_only_where_the_image_is() -> None:
    found = swatch(ShownReference("local", "A/3", 0.9, "", np.random.default_rng(0).random((3, 300, 400))))
    assert (found.width, found.height) == (SWATCH, 72) and found.words == "local: A/3, cosine 0.90"
    assert swatch(ShownReference("global", "A/7")).source == ""
    assert swatch(ShownReference("local", "v", 0.5, "", np.zeros((1, 5, 30, 40)))).width == 40


def test_the_page_shows_them_escaped(full_report: Report) -> None:
    page = render(with_references(full_report))
    assert "References of the images" in page and "<4>" not in page
    assert 'class="swatch-line"><img src="data:image/jpeg' in page and 'class="warned">no similar source image' in page
    assert 'swatch-line"' not in render(full_report) and "References of the images" not in render(full_report)
