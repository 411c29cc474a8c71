"""What the page shows, collected from a result: which cases, which taps, and what is written down beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from robust_models import disc_bundle, picture, write_discs
from unshift.evaluate.choice import IN_DOMAIN, NONE
from unshift.experiment.portrait import caution, gallery, place_means, portrait, ranked, restyled_taps, rule, write_page
from unshift.experiment.repair_plan import RobustifyConfig, views
from unshift.experiment.robustify import Robustness, robustify
from unshift.experiment.source import open_source


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Robustness:
    folder = tmp_path_factory.mktemp("portrait")
    source = open_source(write_discs(folder / "discs", 18), disc_bundle().task, most=4)
    config = RobustifyConfig(plugins=("adain",), gates=("none",), strengths=(0.5, 1.0), choose="adain-single")
    return robustify(disc_bundle(), source, folder / "out", config=config)


def test_the_page_is_written(result: Robustness) -> None:
    page = write_page(result, subject="A <network>", command="unshift robustify x")
    text = page.read_text(encoding="utf-8")
    assert page == result.folder / "report.html"
    assert "A &lt;network&gt;. Source images: discs: 18 images of 18 patients" in text
    assert text.count("<img") == 2 * 4 * 3  # none and the choice; in-domain and the strongest of B, C, D; three ranks
    assert (result.folder / "tables" / "places.csv").is_file()


def test_pictures_are_those_of_the_scores(result: Robustness) -> None:
    items = list(gallery(result))
    assert {i.domain for i in items} == {IN_DOMAIN, "B@1", "C@1", "D@1"}
    values = result.scores.query("pipeline == 'none' and domain == 'D@1'").set_index("case")["value"]
    of_shift = {i.rank: i for i in items if i.domain == "D@1" and i.pipeline == NONE}
    assert (of_shift["worst"].case, of_shift["best"].case) == (values.idxmin(), values.idxmax())
    for item in items:
        row = result.scores.query("pipeline == @item.pipeline and domain == @item.domain and case == @item.case")
        assert row["value"].item() == pytest.approx(item.score)
        said, true = item.prediction > 0, item.reference > 0
        assert 2 * (said & true).sum() / (said.sum() + true.sum()) == pytest.approx(item.score)
        assert torch.equal(torch.from_numpy(item.reference), picture(int(item.case[1:]))[1])
    case = next(c for c in result.plan.source.held_out if c.name == of_shift["worst"].case)
    image = dict(views(result.plan, result.plan.source.dataset.read_image(case)))["D@1"].image
    assert torch.equal(torch.from_numpy(of_shift["worst"].image), image)


def test_the_taps_of_the_choice(result: Robustness) -> None:
    assert [(tap.name, used) for tap, used in restyled_taps(result)] == [("level_1", False), ("level_2", True)]


def test_means_are_those_of_the_scores(result: Robustness) -> None:
    means = place_means(result.scores).set_index(["pipeline", "domain"])["mean"]
    expected = result.scores.groupby(["pipeline", "domain"])["value"].mean()
    pd.testing.assert_series_equal(means.sort_index(), expected.sort_index(), check_names=False)


def test_what_is_written_down(result: Robustness) -> None:
    notes = portrait(result, subject="x", command="y").notes
    assert "repairs were fitted on 11 images and compared on 4 of other patients" in notes["Images"]
    assert "lose at most 0.5 points" in notes["Choice"]
    assert "Chosen by hand" in notes["Choice"]
    assert "Gate" not in notes
    assert "Two families of shifts" not in notes
    assert "2 points" in rule(2)


def test_fewer_ranks_than_three() -> None:
    assert ranked(pd.Series([0.5], index=["a"])) == {"worst": "a"}
    assert ranked(pd.Series([0.5, 0.1], index=["a", "b"])) == {"worst": "b", "best": "a"}
    assert ranked(pd.Series([0.5, 0.1, 0.3], index=["a", "b", "c"])) == {"worst": "b", "median": "c", "best": "a"}
    assert ranked(pd.Series([float("nan")], index=["a"])) == {"worst": "a"}


def test_a_trained_task_and_a_gate_are_explained(tmp_path: Path) -> None:
    source = open_source(write_discs(tmp_path / "discs", 18, masks=False), disc_bundle().task, most=2)
    config = RobustifyConfig(plugins=("din",), levels=("single",), objectives=("task",), steps=2, strengths=(1.0,))
    found = robustify(disc_bundle(), source, tmp_path / "out", config=config)
    notes = portrait(found, subject="x", command="y").notes
    assert "not the same shifts" in notes["Two families of shifts"]
    assert "leave an image alone" in notes["Gate"]
    assert "changed prediction counts as a loss" in notes["Score"]


def test_the_command_line_and_the_page_count_the_same_patients(result: Robustness) -> None:
    """Two of four held-out patients have no defined score: it is two that were compared, in two tests a place."""
    out = {case.name for case in result.plan.source.held_out[:2]}
    scores = result.scores.assign(value=result.scores["value"].mask(result.scores["case"].isin(out)))
    few = replace(result, scores=scores)
    assert caution(few).startswith("2 patients are too few for a test")
    assert "for 4 comparisons 1.000" in caution(few)
    assert caution(few) == portrait(few, subject="", command="").caution
