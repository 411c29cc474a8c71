"""Which pictures the colors of test images were moved to: a table of all, and small pictures beside those shown."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from unshift.report.caption import conditions
from unshift.report.content import Report, ShownReference
from unshift.report.grid import Cell, Column, Row, Table
from unshift.report.picture import data_uri, eight_bit, thumbnail

SWATCH = 96
"""Longest side of a reference's picture."""


@dataclass(frozen=True)
class Swatch:
    """A reference as it is drawn: ``source`` is a data URI, empty where the source images are not at hand."""

    words: str
    warning: str
    source: str = ""
    width: int = 0
    height: int = 0


def swatch(shown: ShownReference) -> Swatch:
    """A reference in words and, where its image is at hand, as a small JPEG."""
    likeness = "" if shown.likeness is None else f", cosine {shown.likeness:.2f}"
    words = f"{shown.kind}: {shown.name}{likeness}"
    if shown.image is None:
        return Swatch(words, shown.warning)
    flat = shown.image if shown.image.ndim == 3 else shown.image[:, shown.image.shape[1] // 2]
    picture = thumbnail(eight_bit(flat), flat.shape[2], flat.shape[1], SWATCH)
    return Swatch(words, shown.warning, data_uri(picture), picture.width, picture.height)


def reference_table(report: Report) -> Table:
    """By domain and pipeline, what references of each kind were; its file has one row a test image and view."""
    assert report.references is not None
    frame = report.references
    kinds = list(dict.fromkeys(frame["kind"]))
    rows = []
    for (domain, pipeline), part in frame.groupby(["domain", "pipeline"], sort=False):
        cells = [_cell(part[part["kind"] == kind]) for kind in kinds]
        warned = part[part["warning"] != ""]
        images = part["case"].nunique()
        cells.append(Cell(f"{warned['case'].nunique()} of {images}", _reasons(warned)))
        rows.append(Row(str(pipeline), tuple(cells), str(domain)))
    columns = tuple(Column(name) for name in (*kinds, "images warned of"))
    caption = (
        "Pictures whose colors test images were given: how many different ones, the one used most, and where chosen by "
        "likeness the median and the least cosine. Warned of: images unlike every source image, nearly black or "
        f"over-exposed, and references that are. The file has one row an image and reference. {conditions(report)}"
    )
    return Table(
        "references", "References of the images", caption, "pipeline", columns, tuple(rows), frame, report.is_oracle
    )


def _cell(part: pd.DataFrame) -> Cell:
    if part.empty:
        return Cell("–")
    counts = part["reference"].value_counts()
    details = [f"{counts.index[0]}, {counts.iloc[0]} of {len(part)}"]
    likeness = part["likeness"].dropna()
    if len(likeness):
        details.append(f"cosine {likeness.median():.2f}, least {likeness.min():.2f}")
    return Cell(str(len(counts)), tuple(details))


def _reasons(warned: pd.DataFrame) -> tuple[str, ...]:
    """The beginnings of warnings, without the figures that differ between images."""
    return tuple(dict.fromkeys(text.split(":")[0] for text in warned["warning"]))[:3]
