from __future__ import annotations

from typing import Any

import pandas as pd

from unshift.evaluate.statistics import worst_rows
from unshift.report.grid import Cell
from unshift.report.table import all_tables
from unshift.report.weakness import alarm_table, rank_table, recovery_table, weakness_tables, worst_table


def test_worst_rows_by_hand(make_report: Any) -> None:
    worst = pd.DataFrame(
        [
            ("baseline", "worst domain", "vendor B", 0.584, 24),
            ("baseline", "worst decile", "vendor B, vendor C", 0.41, 5),
            ("augmented", "worst domain", "vendor B", 0.797, 24),
        ],
        columns=["pipeline", "row", "where", "value", "n"],
    )
    table = worst_table(make_report(worst=worst))
    assert [c.label for c in table.columns] == ["worst domain", "worst decile"]
    assert table.rows[0].cells == (Cell("58.4", ("vendor B", "n 24")), Cell("41.0", ("vendor B, vendor C", "n 5")))
    assert table.rows[1].cells[1] == Cell("–")


def test_worst_rows_of_scores(full_report: Any, make_report: Any) -> None:
    table = worst_table(make_report(worst=worst_rows(full_report.scores)))
    assert [row.head for row in table.rows] == ["baseline", "augmented", "equalized"]
    assert all("vendor B" in row.cells[0].details for row in table.rows)
    assert all(float(row.cells[1].text) < float(row.cells[0].text) for row in table.rows)


def test_gap_recovery_in_percent_or_why_not(make_report: Any) -> None:
    columns = [
        "pipeline",
        "domain",
        "region",
        "metric",
        "unit",
        "recovery",
        "low",
        "high",
        "gap",
        "n",
        "n_patients",
        "note",
    ]
    nan = float("nan")
    rows = [
        ("augmented", "vendor B", "head", "dice", "1", 0.7, 0.6, 0.81, 0.3, 24, 24, ""),
        ("augmented", "vendor C", "head", "dice", "1", nan, nan, nan, 0.01, 24, 24, "undefined: no gap"),
        ("augmented", "vendor B", "head", "hd95", "mm", 0.5, 0.4, 0.6, 9.0, 24, 24, ""),
    ]
    table = recovery_table(make_report(recovery=pd.DataFrame(rows, columns=columns)))
    assert [c.label for c in table.columns] == ["vendor B", "vendor C"]
    assert table.rows[0].cells == (Cell("70.0", ("60.0 to 81.0", "n 24")), Cell("–", ("–", "undefined: no gap")))


def test_false_alarms_are_counted(make_report: Any) -> None:
    rows = [
        ("baseline", "vendor A", True, "head", 10, 2.0, 0.2),
        ("baseline", "vendor B", False, "head", 8, 6.5, 0.8125),
    ]
    columns = ["pipeline", "domain", "seen", "region", "n_empty", "n_false_alarm", "rate"]
    table = alarm_table(make_report(false_alarms=pd.DataFrame(rows, columns=columns)))
    assert [c.label for c in table.columns] == ["vendor A (in-domain)", "vendor B"]
    assert table.rows[0].cells == (Cell("20 %", ("2 of 10",)), Cell("81 %", ("6.5 of 8",)))


def test_only_what_was_computed_and_is_not_empty_is_shown(make_report: Any, full_report: Any) -> None:
    assert weakness_tables(make_report()) == []
    report = make_report(worst=worst_rows(full_report.scores), false_alarms=pd.DataFrame())
    assert [t.name for t in weakness_tables(report)] == ["worst", "ranks"]
    assert {"worst", "ranks"} < {t.name for t in all_tables(report)}


def test_two_pipelines_are_ranked_and_one_is_not(make_report: Any, make_scores: Any) -> None:
    for names, tables in (("ab", ["worst", "ranks"]), ("a", ["worst"])):
        scores = make_scores({(name, "vendor B"): 0.5 + 0.3 * (name == "b") for name in names})
        report = make_report(scores=scores, worst=worst_rows(scores))
        assert [t.name for t in weakness_tables(report)] == tables
    assert all(t.rows for t in weakness_tables(report))
    seen = make_scores({(name, "vendor A"): 0.5 for name in "ab"})
    assert weakness_tables(make_report(scores=seen, worst=worst_rows(seen))) == []


def test_ranks_of_scores(full_report: Any) -> None:
    table = rank_table(full_report)
    assert [c.label for c in table.columns] == ["vendor B", "vendor C", "all domains", "all patients"]
    ranked = {row.head: [cell.text for cell in row.cells] for row in table.rows}
    assert ranked["augmented"][:3] == ["1", "1", "1"] and ranked["equalized"][0] == "3"
    assert ranked["baseline"][0] == "2" and "1 is best" in table.caption
