"""The report's evidence: the right cases are shown, histograms are of the right pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiment_recipes import TINY, tiny
from unshift.experiment.evidence import collect, curves, describe_pipeline, describe_protocol, distributions, gallery
from unshift.experiment.run import Result, prepare


@pytest.fixture(scope="module")
def opened(finished: Result):
    return prepare(tiny(), root=None, runs=finished.folder.parent)


def test_gallery_shows_the_worst_and_best_of_the_baseline(finished: Result, opened) -> None:
    items = list(gallery(*opened, finished.scores))
    dice = finished.scores[(finished.scores["metric"] == "dice") & (finished.scores["pipeline"] == "baseline")]
    for domain, rows in dice.groupby("domain"):
        shown = {i.rank: i for i in items if i.domain == domain and i.pipeline == "baseline"}
        assert shown["worst"].score == pytest.approx(rows["value"].min())
        assert shown["best"].score == pytest.approx(rows["value"].max())
        assert set(shown) == {"worst", "median", "best"}
        other = {i.rank: i.case for i in items if i.domain == domain and i.pipeline == "equalized"}
        assert other == {rank: item.case for rank, item in shown.items()}
    for item in items:
        assert item.image.shape[1:] == item.reference.shape == item.prediction.shape


def test_the_worst_distance_is_the_largest(finished: Result) -> None:
    recipe = tiny(evaluate={"metrics": ["hd95", "dice"]})
    current, plan = prepare(recipe, root=None, runs=finished.folder.parent, record=False)
    items = [i for i in gallery(current, plan, finished.scores) if i.domain == "B" and i.pipeline == "baseline"]
    rows = finished.scores.query("metric == 'hd95' and domain == 'B' and pipeline == 'baseline'")
    shown = {i.rank: i.score for i in items}
    assert shown["worst"] == pytest.approx(rows["value"].max())
    assert shown["best"] == pytest.approx(rows["value"].min())


def test_distributions_integrate_to_one(opened) -> None:
    found = list(distributions(*opened))
    assert {(d.domain, d.is_target) for d in found} == {("A", False), ("B", True)}
    for d in found:
        assert float((d.density * np.diff(d.edges)).sum()) == pytest.approx(1.0)


def test_curves_come_from_the_journal(opened) -> None:
    found = {curve.quantity: curve for curve in curves(*opened)}
    assert list(found["source validation, mean Dice"].steps) == [3, 6]
    assert all(0 <= v <= 1 for v in found["source validation, mean Dice"].values)
    assert found["training loss"].values[0] > 0


def test_pipelines_are_told_apart_by_the_settings_that_differ_from_the_defaults(opened) -> None:
    current, _ = opened
    pipelines = {
        "baseline": {},
        "one": {"objective": {"name": "fact", "weight": 1.0, "temperature": 10.0}, "train": {"steps": 9}},
        "two": {"objective": "fact", "network": "unet", "description": "As published."},
        "three": {"normalizations": [{"name": "dcin", "nearest": 2}, "zscore"]},
    }
    run = replace(current, recipe=tiny(pipelines=pipelines))
    assert {name: describe_pipeline(run, name) for name in pipelines} == {
        "baseline": "objective erm; network unet (widths [4, 8])",
        "one": "objective fact (weight 1.0); network unet (widths [4, 8]); trained with steps 9",
        "two": "As published. (objective fact; network unet)",
        "three": "objective erm; network unet (widths [4, 8]); normalizations: dcin (nearest 2), zscore",
    }


def test_histograms_have_the_order_of_the_dataset(finished: Result) -> None:
    recipe = tiny(protocol={"leave_one_out": True, "validation": 0.2, "test": 0.3})
    current, plan = prepare(recipe, root=None, runs=finished.folder.parent, record=False)
    assert [d.domain for d in distributions(current, plan)] == ["A", "B"]


def test_protocol_counts_cases(opened) -> None:
    current, plan = opened
    text = describe_protocol(current, plan)
    assert f"({len(plan[0].train)} cases" in text
    assert "all 16 cases of B" in text
    part = replace(current, recipe=tiny(protocol={**TINY["protocol"], "same_patients": True}))
    assert "on the 16 cases of held-out patients of B, which training never saw" in describe_protocol(part, plan)
    listed = replace(current, recipe=tiny(protocol={**TINY["protocol"], "declared_test": True}))
    assert "on the 16 cases that the dataset's owners declare for testing of B" in describe_protocol(listed, plan)


def test_collect_fills_the_report(finished: Result, opened) -> None:
    report = collect(*opened, finished.scores, finished.summary, finished.comparisons)
    assert report.sources == ("A",)
    assert not report.is_oracle
    assert set(report.data_hashes) == {"A", "B"}
    assert "16 cases" in report.data_hashes["A"]
