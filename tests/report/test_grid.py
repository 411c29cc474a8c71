from __future__ import annotations

import pandas as pd

from unshift.report.grid import Cell, Column, Row, Table


def test_columns_and_rows_are_grouped_in_order() -> None:
    cells = (Cell("1"), Cell("2"), Cell("3"))
    table = Table(
        "t",
        "T",
        "",
        "pipeline",
        (Column("A", "in-domain"), Column("B", "unseen"), Column("C", "unseen")),
        (Row("x", cells, "rim"), Row("y", cells, "rim"), Row("x", cells, "cup")),
        pd.DataFrame(),
    )
    assert table.groups == [("in-domain", 1), ("unseen", 2)]
    assert [(group, [row.head for row in rows]) for group, rows in table.bodies] == [
        ("rim", ["x", "y"]),
        ("cup", ["x"]),
    ]
