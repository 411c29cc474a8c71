"""The section on what trainings showed of themselves: a sheet a pipeline, by direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from unshift.report.content import Sheet
from unshift.report.picture import data_uri


@dataclass(frozen=True)
class SheetPicture:
    """One sheet as the page has it."""

    pipeline: str
    columns: tuple[str, ...]
    source: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class SheetGroup:
    """The sheets of one direction."""

    title: str
    sheets: tuple[SheetPicture, ...]


def sheet_views(sheets: Sequence[Sheet]) -> list[SheetGroup]:
    """In the order in which directions first appear."""
    titles = dict.fromkeys(sheet.title for sheet in sheets)
    return [SheetGroup(title, tuple(map(_picture, (s for s in sheets if s.title == title)))) for title in titles]


def _picture(sheet: Sheet) -> SheetPicture:
    height, width = sheet.pixels.shape[:2]
    alt = f"{sheet.pipeline}, {sheet.title}: rows of images; columns: {', '.join(sheet.columns)}."
    return SheetPicture(sheet.pipeline, sheet.columns, data_uri(Image.fromarray(sheet.pixels)), width, height, alt)
