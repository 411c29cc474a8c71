"""From a recipe to a report, and again from where it stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from experiment_recipes import tiny
from unshift.datasets import phantom
from unshift.errors import ConfigError
from unshift.evaluate.score import read_scores
from unshift.experiment.events import Event
from unshift.experiment.run import Result, jobs, prepare, report_again, run
from unshift.experiment.testing import prediction_path
from unshift.sample import Case


def test_a_run_leaves_what_it_says(finished: Result) -> None:
    for name in ("recipe.yaml", "run.json", "data.json", "split.json", "scores.parquet", "report.html"):
        assert (finished.folder / name).stat().st_size > 0, name
    assert set(finished.scores["pipeline"]) == {"baseline", "equalized"}
    assert set(finished.scores["domain"]) == {"A", "B"}
    assert set(finished.scores.loc[finished.scores["seen"], "domain"]) == {"A"}
    assert read_scores(finished.folder / "scores.parquet").equals(finished.scores)
    assert list((finished.folder / "bundles").rglob("bundle.yaml"))


def test_pipelines_that_agree_share_one_training(finished: Result) -> None:
    assert len(list((finished.folder.parent / "trainings").iterdir())) == 1


def test_every_scored_case_has_its_prediction(finished: Result) -> None:
    for row in finished.scores.itertuples():
        case = Case(row.case, row.patient, row.domain)
        path = prediction_path(finished.folder, row.pipeline, row.fold, row.seed, case)
        assert path.with_name(path.name + ".png").is_file()


def test_the_same_call_repeats_nothing(finished: Result) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished.folder.parent / "trainings").rglob("*") if p.is_file()}
    events: list[Event] = []
    again = run(tiny(), runs=finished.folder.parent, listener=events.append)
    assert again.scores.equals(finished.scores)
    assert again.summary.equals(finished.summary)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert {e.detail for e in events if e.job.startswith("test")} == {"already there"}


def test_another_recipe_may_not_use_the_folder(finished: Result) -> None:
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        run(tiny(seeds=[1]), runs=finished.folder.parent)


def test_jobs_count_shared_training_once(finished: Result) -> None:
    current, plan = prepare(tiny(), root=None, runs=finished.folder.parent, record=False)
    work = jobs(current, plan)
    assert [job.kind for job in work] == ["train", "test", "test"]
    assert work[0].total == 6


def test_the_report_can_be_written_again(finished: Result) -> None:
    page = finished.folder / "report.html"
    page.unlink()
    assert report_again(finished.folder).report == page
    assert page.stat().st_size > 10_000


def test_no_report_without_scores(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        report_again(tmp_path)


def test_training_never_opens_a_held_out_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading a label of the held-out domain, or of a test patient, raises until training has ended."""
    recipe = tiny(train={"steps": 2, "batch_size": 2, "validate_every": 1, "precision": "32"})
    _, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    forbidden = {case.key for case in plan[0].test}
    assert {key.split("/")[0] for key in forbidden} == {"A", "B"}
    trained: list[str] = []
    opened: list[str] = []
    door = phantom.MEMBER.read_label_map

    def guard(self: object, case: Case) -> object:
        if case.key in forbidden:
            if not trained:
                raise AssertionError(f"{case.key}: a held-out label was opened before testing")
            opened.append(case.key)
        return door(self, case)

    def listen(event: Event) -> None:
        if event.job.startswith("train") and event.done == event.total:
            trained.append(event.job)

    monkeypatch.setattr(phantom.MEMBER, "read_label_map", guard)
    run(recipe, runs=tmp_path, listener=listen)
    assert set(opened) == forbidden


def test_the_guard_would_catch_a_leak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The oracle rule does look: under it, the same door raises, so the test above can fail."""
    recipe = tiny(
        selection="oracle",
        train={"steps": 2, "batch_size": 2, "validate_every": 1, "precision": "32", "keep": "all"},
    )
    _, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    forbidden = {case.key for case in plan[0].test}
    door = phantom.MEMBER.read_label_map

    def guard(self: object, case: Case) -> object:
        if case.key in forbidden:
            raise AssertionError("held-out label opened")
        return door(self, case)

    monkeypatch.setattr(phantom.MEMBER, "read_label_map", guard)
    with pytest.raises(AssertionError, match="held-out label opened"):
        run(recipe, runs=tmp_path)


def test_oracle_marks_the_page(tmp_path: Path) -> None:
    recipe = tiny(
        selection="oracle",
        train={"steps": 2, "batch_size": 2, "validate_every": 1, "precision": "32", "keep": "all"},
    )
    result = run(recipe, runs=tmp_path)
    assert "oracle" in result.report.read_text(encoding="utf-8").lower()


def test_volumes_by_slices_with_neighbours(tmp_path: Path) -> None:
    dataset = {"name": "phantom", "world": "organs", "dimensions": 3, "domains": ["site1", "ct"], "cases": 8}
    recipe = tiny(
        dataset={**dataset, "size": [8, 32, 32]},
        protocol={"sources": ["site1"], "targets": ["ct"], "validation": 0.2, "test": 0.2},
        preprocessing=["min_max"],
        input={"mode": "resize", "size": [32, 32], "neighbours": 1},
        pipelines={"baseline": {"objective": "erm"}},
    )
    result = run(recipe, runs=tmp_path)
    distances = result.scores[result.scores["metric"] == "hd95"]
    assert set(distances["unit"]) == {"mm"}
    assert list((result.folder / "predictions").rglob("*.nii.gz"))


def test_table_by_hand(finished: Result) -> None:
    rows = finished.scores
    rows = rows[(rows["metric"] == "dice") & (rows["pipeline"] == "baseline") & ~rows["seen"]]
    cell = finished.table().loc[("baseline", "head"), "B"]
    assert cell.startswith(f"{rows['value'].mean():.3f} [")
    assert list(finished.table().columns) == ["A (seen)", "B"]


def test_result_is_plain(finished: Result) -> None:
    assert {f.name for f in dataclasses.fields(finished)} == {"folder", "report", "scores", "summary", "comparisons"}
