from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from unshift.evaluate.comparison import compare
from unshift.evaluate.statistics import all_unseen, summarize
from unshift.report.table import all_tables, best_in, differences_table, headline_table, metric_table


def bold(table: Any) -> set[tuple[str, str]]:
    return {
        (row.head, table.columns[i].label) for row in table.rows for i, cell in enumerate(row.cells) if cell.is_bold
    }


def test_headline_is_pipelines_by_domains_in_domain_first(full_report: Any) -> None:
    table = headline_table(full_report)
    assert [row.head for row in table.rows] == ["baseline", "augmented", "equalized"]
    assert [(c.label, c.group) for c in table.columns] == [
        ("vendor A", "in-domain"),
        ("vendor B", "unseen"),
        ("vendor C", "unseen"),
    ]
    assert table.groups == [("in-domain", 1), ("unseen", 2)]


def test_a_cell_shows_mean_interval_and_counts(make_report: Any) -> None:
    report = make_report()
    summary = report.summary.copy()
    where = (summary["pipeline"] == "baseline") & (summary["domain"] == "vendor B") & (summary["metric"] == "dice")
    values = {"mean": 0.5, "low": 0.4567, "high": 0.5432, "n_scored": 20, "n_undefined": 3, "n_missing": 1}
    summary.loc[where, list(values)] = list(values.values())
    cell = headline_table(make_report(summary=summary)).rows[0].cells[1]
    assert cell.text == "50.0"
    assert cell.details == ("45.7 to 54.3", "n 20", "3 undefined", "1 missing")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {("augmented", "vendor B"), ("augmented", "vendor C")}),
        ({"low": -0.01}, set()),  # the interval covers 0
        ({"p_holm": 0.05}, set()),  # the test does not reject
        ({"low": -0.2, "high": -0.1, "difference": -0.15}, set()),  # clear, but worse
    ],
)
def test_bold_is_refused_unless_clear(
    make_report: Any, change: dict[str, float], expected: set[tuple[str, str]]
) -> None:
    report = make_report()
    assert bold(headline_table(make_report(comparisons=report.comparisons.assign(**change)))) == expected


def test_the_baseline_is_never_bold(make_report: Any) -> None:
    effects = {("baseline", "vendor B"): 0.9, ("worse", "vendor B"): 0.4}
    assert bold(headline_table(make_report(effects))) == set()


def test_the_best_of_distances_is_the_smallest(full_report: Any) -> None:
    assert best_in(full_report, "hd95", ("head", "mm"), "vendor B", seen=False) == "augmented"
    assert best_in(full_report, "hd95", ("head", "mm"), "vendor A", seen=True) is None
    assert bold(metric_table(full_report, "hd95")) == {("augmented", "vendor B"), ("augmented", "vendor C")}


def test_nothing_scored_is_nothing_bold(make_report: Any) -> None:
    report = make_report()
    empty = report.summary.assign(mean=float("nan"))
    assert bold(headline_table(make_report(summary=empty))) == set()
    assert headline_table(make_report(summary=empty)).rows[0].cells[0].text == "–"


def test_regions_and_units_stand_in_groups(make_report: Any) -> None:
    report = make_report()
    two = pd.concat([report.summary, report.summary.assign(region="rim")])
    table = headline_table(make_report(summary=two))
    assert [(name, len(rows)) for name, rows in table.bodies] == [("head", 3), ("rim", 3)]
    assert table.title == "Dice by domain and region"
    mixed = pd.concat([report.summary, report.summary.replace({"unit": {"mm": "px"}})])
    table = metric_table(make_report(summary=mixed), "hd95")
    assert [(name, len(rows)) for name, rows in table.bodies] == [("mm", 3), ("px", 3)]
    assert "in mm and px, lower is better" in table.caption


def test_captions_name_what_the_numbers_rest_on(full_report: Any, make_report: Any) -> None:
    report = make_report(postprocessing="largest component", resolution="256 × 256 pixels")
    for table in (headline_table(report), differences_table(report), metric_table(report, "nsd")):
        for part in ("95 %", "Holm", "held-out validation patients", "256 × 256 pixels", "largest component"):
            assert part in table.caption, (table.name, part)
        assert "ORACLE" not in table.caption
    assert "in mm, lower is better" in metric_table(full_report, "hd95").caption


def test_the_oracle_marks_every_table(make_report: Any) -> None:
    for table in all_tables(make_report(is_oracle=True)):
        assert table.is_oracle
        assert "ORACLE" in table.caption


def test_differences_show_all_pairs(full_report: Any) -> None:
    table = differences_table(full_report)
    assert len(table.rows) == 6
    assert [group for group, _ in table.bodies] == ["vendor A (in-domain)", "vendor B (unseen)", "vendor C (unseen)"]
    frame = full_report.comparisons
    row = frame[
        (frame["metric"] == "dice") & (frame["domain"] == "vendor B") & (frame["pipeline"] == "augmented")
    ].iloc[0]
    shown = table.bodies[1][1][0]
    assert shown.cells[0].text == f"+{100 * row['difference']:.1f}"
    assert shown.cells[0].is_bold
    assert shown.cells[4].text == "24"


def test_names_of_tables_are_names_of_files(make_report: Any) -> None:
    report = make_report()
    odd = report.summary.replace({"metric": {"nsd": "nsd/../2 mm"}})
    names = [t.name for t in all_tables(make_report(summary=odd))]
    assert names == ["headline", "differences", "metric_nsd____2_mm", "metric_hd95"]


def test_rows_of_too_few_patients_are_marked(make_report: Any) -> None:
    """Two tests of 7 patients: 2 / 64 is below 0.05; of 6 patients, 2 / 32 is not, whatever the differences."""
    report = make_report()
    others = report.comparisons.assign(n_patients=24)
    inside = others["domain"] == "vendor A"
    few = others.assign(n_patients=others["n_patients"].mask(inside, 6))
    table = differences_table(make_report(comparisons=few))
    marked = {row.group: "†" in row.cells[2].text for row in table.rows}
    assert marked == {"vendor A (in-domain)": True, "vendor B (unseen)": False, "vendor C (unseen)": False}
    assert "†: too few patients for a test" in table.caption
    assert "A row without it may still be out of reach" in table.caption
    enough = differences_table(make_report(comparisons=few.replace({"n_patients": {6: 7}})))
    assert "†" not in enough.caption and not any("†" in cell.text for row in enough.rows for cell in row.cells)


def test_a_replayed_protocol_marks_every_table(make_report: Any) -> None:
    for table in all_tables(make_report(replayed=("Distances are in voxels.",))):
        assert "REPLAY of a published protocol, not ours: Distances are in voxels." in table.caption
    for table in all_tables(make_report()):
        assert "REPLAY" not in table.caption


@pytest.fixture(scope="module")
def together(make_report: Any, make_scores: Any) -> Any:
    """The report of known effects with what is said of both unseen vendors together."""
    scores = make_report().scores
    tables = {"summary": summarize(scores), "comparisons": compare(scores, baseline="baseline")}
    pooled, changes = all_unseen(scores, baseline="baseline")
    return make_report(scores=scores, **tables, pooled=pooled, pooled_comparisons=changes)


def test_all_unseen_domains_stand_in_a_column_of_their_own(together: Any) -> None:
    table = headline_table(together)
    assert (table.columns[-1].label, table.columns[-1].group) == ("all unseen", "mean of 2 domains")
    assert [cell.details[1] for cell in table.rows[1].cells] == ["n 24", "n 24", "n 24", "n 48"]
    dice = together.pooled[together.pooled["metric"] == "dice"].set_index("pipeline")
    shown = {row.head: row.cells[-1].text for row in table.rows}
    assert shown == {name: f"{100 * mean:.1f}" for name, mean in dice["mean"].items()}
    vendors = together.summary.query("metric == 'dice' and pipeline == 'augmented' and not seen")["mean"]
    assert dice.loc["augmented", "mean"] == pytest.approx(vendors.mean())
    assert "All unseen: the mean of the domains' means" in table.caption
    assert table.frame["n_domains"].tolist().count(2) == 3 and table.frame["domain"].iloc[-1] == "all unseen"
    assert metric_table(together, "hd95").columns[-1].label == "all unseen"


def test_differences_over_all_unseen_domains_are_shown_and_not_tested(together: Any) -> None:
    table = differences_table(together)
    assert [group for group, _ in table.bodies][2:] == ["vendor C (unseen)", "all unseen (mean of 2 domains)"]
    rows = {row.head: row.cells for row in table.bodies[-1][1]}
    gain = together.pooled_comparisons.query("metric == 'dice' and pipeline == 'augmented'").iloc[0]
    assert gain["low"] > 0 and gain["difference"] > 0.1
    assert rows["augmented"][0].text == f"+{100 * gain['difference']:.1f}" and not rows["augmented"][0].is_bold
    assert (rows["augmented"][2].text, rows["augmented"][4].text, rows["augmented"][5].text) == ("–", "48", "24"), (
        "the same people at both"
    )
    assert "It is not tested, so it has no p" in table.caption
    assert not any("all unseen" in str(c) for c in differences_table(replace(together, pooled_comparisons=None)).bodies)


def test_tests_by_domain_stay_what_they_are_beside_them(together: Any) -> None:
    alone = replace(together, pooled=None, pooled_comparisons=None)
    by_domain = differences_table(together).rows[: len(differences_table(alone).rows)]
    assert by_domain == differences_table(alone).rows
    assert bold(headline_table(together)) == bold(headline_table(alone)) != set()
    assert list(headline_table(alone).frame.columns) == list(alone.summary.columns)


def test_a_domain_that_is_in_no_mean_is_counted(together: Any) -> None:
    fewer = together.pooled.assign(n_domains=1)
    assert headline_table(replace(together, pooled=fewer)).rows[0].cells[-1].details[-1] == "1 of 2 domains"
