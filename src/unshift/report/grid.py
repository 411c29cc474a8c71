"""A table as data: columns in groups, rows in groups, cells with their small print."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """``text`` and, below it, smaller lines."""

    text: str
    details: tuple[str, ...] = ()
    is_bold: bool = False


@dataclass(frozen=True)
class Column:
    """A column and the group that it stands in (``in-domain``, ``unseen``, or none)."""

    label: str
    group: str = ""


@dataclass(frozen=True)
class Row:
    """A row; rows of one ``group`` (a region) stand together."""

    head: str
    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table: for people (``columns``, ``rows``) and for programs (``frame``, full precision).

    Args:
        name: stem of its files.
        corner: what the row heads are.
    """

    name: str
    title: str
    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    frame: pd.DataFrame = field(repr=False)
    is_oracle: bool = False

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Column groups with their widths, in order."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    @property
    def bodies(self) -> list[tuple[str, list[Row]]]:
        """Rows by group, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return list(found.items())
