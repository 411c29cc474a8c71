"""What trainings showed of themselves: grouped by direction, with the names of columns, and left out where there is none."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from unshift.report.content import Sheet
from unshift.report.page import render
from unshift.report.sheet import sheet_views

COLUMNS = ("source", "translation", "target")


def sheet(pipeline: str, title: str = "ct → mr") -> Sheet:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 16:] = 200
    return Sheet(pipeline, title, COLUMNS, pixels)


def test_sheets_stand_by_direction_with_their_pixels() -> None:
    first, second = sheet_views([sheet("translation"), sheet("translation", "mr → ct"), sheet("glua")])
    assert (first.title, second.title) == ("ct → mr", "mr → ct")
    assert [one.pipeline for one in first.sheets] == ["translation", "glua"]
    one = first.sheets[0]
    assert (one.columns, one.width, one.height) == (COLUMNS, 24, 8)
    drawn = Image.open(io.BytesIO(base64.b64decode(one.source.split(",")[1])))
    assert abs(int(np.asarray(drawn)[4, 20, 0]) - 200) < 4 and int(np.asarray(drawn)[4, 4, 0]) < 4
    assert one.alt == "translation, ct → mr: rows of images; columns: source, translation, target."


def test_the_section_is_there_where_there_is_something_to_show(make_report: Any) -> None:
    report = make_report()
    assert "What training made" not in render(report)
    page = render(replace(report, sheets=[sheet("translation")]))
    assert 'href="#translations"' in page and "<span>translation</span>" in page
