"""From a recipe to a report, and again from where it stopped."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from experiment_recipes import TINY, tiny
from unshift.config import MemberRef
from unshift.datasets.phantom import Phantom
from unshift.errors import ConfigError, DataError
from unshift.evaluate.score import read_scores
from unshift.evaluate.select import RULES
from unshift.evaluate.statistics import pooled
from unshift.experiment.events import Event
from unshift.experiment.run import Result, jobs, naming, prepare, report_again, run
from unshift.experiment.testing import prediction_path
from unshift.geometry import InputConfig, stack
from unshift.networks.building import build_network
from unshift.recipe import Recipe
from unshift.sample import Case, Sample, Task

SHORT = {"steps": 2, "batch_size": 2, "validate_every": 1, "precision": "32"}


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
    with pytest.raises(ConfigError, match=r"holds a run of another recipe.*trainings.* are not repeated"):
        run(tiny(seeds=[1]), runs=finished.folder.parent)


def test_what_goes_wrong_in_a_pipeline_bears_its_name() -> None:
    with pytest.raises(DataError, match=r"^Pipeline fda: intensities span") as raised, naming("fda"):
        raise DataError("intensities span -1 to 4; set `intensities: image`.")
    assert type(raised.value) is DataError
    with pytest.raises(ZeroDivisionError), naming("fda"):  # a bug stays what it is
        1 / 0  # noqa: B018


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


class Guard:
    """Makes every door to a held-out label raise until testing begins, and counts who comes through afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, member: type, forbidden: set[str]) -> None:
        self.is_armed, self.opened, self.forbidden = True, set[str](), forbidden
        for name in ("read_label_map", "read_stored"):
            if hasattr(member, name):
                monkeypatch.setattr(member, name, self.door(getattr(member, name)))

    def door(self, inner: Callable[..., object]) -> Callable[..., object]:
        def read(dataset: object, case: Case) -> object:
            if case.key in self.forbidden:
                if self.is_armed:
                    raise AssertionError(f"{case.key}: a held-out label was opened before testing")
                self.opened.add(case.key)
            return inner(dataset, case)

        return read

    def listen(self, event: Event) -> None:
        """Weights are chosen, and repairs are fitted, before the first prediction; then doors open."""
        self.is_armed = not event.job.startswith("test ") or event.detail == "fitting repairs"


def guarded(recipe: Recipe, root: Path | None, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Guard:
    current, plan = prepare(recipe, root=root, runs=runs, record=False)
    return Guard(monkeypatch, type(current.dataset), {case.key for case in plan[0].test})


def test_training_and_selection_never_open_a_held_out_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the held-out domain's labels nor those of test patients of the source; fitting units does not either."""
    pipelines = {
        "baseline": {},
        "matched": {"normalizations": ["histogram_matching"], "plugins": ["adain"]},
        "task": {"plugins": [{"name": "din", "objective": "statistics+task", "steps": 2, "check_every": 1}]},
    }
    recipe = tiny(train=SHORT, pipelines=pipelines, content={"count": 4})
    guard = guarded(recipe, None, tmp_path, monkeypatch)
    assert {key.split("/")[0] for key in guard.forbidden} == {"A", "B"}
    run(recipe, runs=tmp_path, listener=guard.listen)
    assert guard.opened == guard.forbidden


@pytest.mark.parametrize("selection", ["entropy", "neighborhood_density", "translated_validation"])
def test_nor_do_rules_without_labels(selection: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor do they open a label of the images that adaptation may see, or look at an image that is tested."""
    objective = {
        "name": "style_translation",
        "translator": {"width": 4, "blocks": 1, "style_depth": 3},
        "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
    }
    pipelines = {"baseline": {"objective": objective if selection == "translated_validation" else "erm"}}
    recipe = tiny(selection=selection, train={**SHORT, "keep": "all"}, pipelines=pipelines)
    guard = guarded(recipe, None, tmp_path, monkeypatch)
    (fold,) = prepare(recipe, root=None, runs=tmp_path, record=False)[1]
    assert len(fold.unlabeled) == 8
    read, is_testing, early = Phantom.read_image, [], []

    def door(dataset: Phantom, case: Case) -> Sample:
        if not is_testing:
            early.append(case.key)
        return read(dataset, case)

    def listen(event: Event) -> None:
        guard.listen(event)
        is_testing.extend([event] if event.job.startswith("test ") else [])

    monkeypatch.setattr(Phantom, "read_image", door)
    guard.forbidden |= {case.key for case in fold.unlabeled}
    result = run(recipe, runs=tmp_path, listener=listen)
    assert {case.key for case in fold.unlabeled} & {*early} and not {case.key for case in fold.test} & {*early}
    assert guard.opened == {case.key for case in fold.test}
    page = result.report.read_text(encoding="utf-8")
    assert RULES[selection].sentence in page and "of all pipelines the choice of weights, also saw" in page


def test_the_same_on_a_folder_of_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for domain, part in itertools.product("ab", ("images", "masks")):
        (tmp_path / "set" / domain / part).mkdir(parents=True)
        for i in range(8):
            array = rng.integers(0, 255, (32, 32), dtype=np.uint8) if part == "images" else np.eye(32, dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "set" / domain / part / f"{i}.png")
    recipe = tiny(
        dataset={"name": "folder", "channels": 1},
        protocol={"sources": ["a"], "targets": ["b"], "validation": 0.2, "test": 0.3},
        train=SHORT,
        pipelines={"baseline": {}},
    )
    guard = guarded(recipe, tmp_path / "set", tmp_path / "runs", monkeypatch)
    run(recipe, root=tmp_path / "set", runs=tmp_path / "runs", listener=guard.listen)
    assert guard.opened == guard.forbidden


def test_the_same_guard_catches_a_rule_that_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The oracle selects by the target's labels: under it the guard above raises, so the tests above can fail."""
    recipe = tiny(selection="oracle", train={**SHORT, "keep": "all"}, pipelines={"baseline": {}})
    guard = guarded(recipe, None, tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match="a held-out label was opened before testing"):
        run(recipe, runs=tmp_path, listener=guard.listen)


@pytest.mark.parametrize("selection", ["source_validation", "oracle"])
def test_upper_bound_and_several_seeds(tmp_path: Path, selection: str) -> None:
    recipe = tiny(
        selection=selection,
        seeds=[0, 1],
        protocol={"sources": ["A"], "targets": ["B"], "validation": 0.2, "test": 0.3, "upper_bound": True},
        train={**SHORT, "keep": "all"},
    )
    result = run(recipe, runs=tmp_path)
    bound = result.scores[result.scores["fold"] == "upper-bound-B"]
    assert set(bound["pipeline"]) == {"baseline"}
    assert set(result.scores["seed"]) == {0, 1}
    assert len(list((tmp_path / "trainings").iterdir())) == 4
    text = result.report.read_text(encoding="utf-8")
    assert "For gap recovery the baseline was also trained on B itself" in text


def test_leave_one_out(tmp_path: Path) -> None:
    evaluate = {"metrics": ["dice"], "confidence": 0.5, "resamples": 100}
    recipe = tiny(protocol={"leave_one_out": True, "validation": 0.2, "test": 0.3}, train=SHORT, evaluate=evaluate)
    result = run(recipe, runs=tmp_path)
    unseen = result.scores[~result.scores["seen"]]
    assert {(r.fold, r.domain) for r in unseen.itertuples()} == {("A", "A"), ("B", "B")}
    assert result.scores["domain"].iloc[0] == "B", "the first fold leaves out A; tables have the dataset's order"
    for frame in (result.summary, result.comparisons):
        assert frame.loc[~frame["seen"], "domain"].unique().tolist() == ["A", "B"]
        assert frame.loc[frame["seen"], "domain"].unique().tolist() == ["A", "B"]
    pd.testing.assert_frame_equal(
        result.pooled, pooled(unseen, config=recipe.evaluate).reset_index(drop=True), check_like=True
    )
    page = result.report.read_text(encoding="utf-8")
    assert "On the mean over 2 unseen domains, the baseline scores" in page and "50 % interval" in page
    headline = pd.read_csv(result.folder / "tables" / "headline.csv")
    assert headline.query("domain == 'all unseen'")["pipeline"].tolist() == ["baseline", "equalized"]
    changes = pd.read_csv(result.folder / "tables" / "differences.csv").query("domain == 'all unseen'")
    assert changes["difference"].tolist() == pytest.approx(result.pooled_comparisons["difference"].tolist())
    assert (result.folder / "tables" / "ranks.csv").is_file()


def test_what_was_deleted_comes_back(tmp_path: Path) -> None:
    recipe = tiny(train=SHORT)
    first = run(recipe, runs=tmp_path)
    shutil.rmtree(first.folder / "bundles")
    next((first.folder / "predictions").rglob("*.png")).unlink()
    again = run(recipe, runs=tmp_path)
    assert again.scores.equals(first.scores)
    assert len(list((first.folder / "bundles").rglob("bundle.yaml"))) == 2


def test_a_time_limit_may_change_and_scores_follow_the_weights(tmp_path: Path) -> None:
    long = {**TINY["train"], "steps": 12, "validate_every": 3}
    cut = run(tiny(train={**long, "max_minutes": 1e-6}, selection="last"), runs=tmp_path)
    steps = [json.loads(p.read_text(encoding="utf-8"))["step"] for p in (tmp_path / "trainings").rglob("state.json")]
    assert max(steps) < 12
    whole = run(tiny(train=long, selection="last"), runs=tmp_path)
    again = run(tiny(train={**long, "max_minutes": 1e-6}, selection="last"), runs=tmp_path)
    assert len(list((tmp_path / "trainings").iterdir())) == 1
    assert len(list((cut.folder / "parts").iterdir())) == 4
    assert again.scores.equals(whole.scores)


def test_channels_and_neighbours() -> None:
    """Three channels of five stacked slices: standardization is repeated for each slice."""
    network = build_network(
        MemberRef.model_validate({"name": "unet", "widths": [4, 8]}),
        Task(3, ("background", "organ"), spatial_dims=3),
        InputConfig(size=(16, 16), neighbours=2),
    )
    network.standardize(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]))
    volume = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, 6, 16, 16)
    standardized = (stack(volume, 2, 2) - network.input_mean.view(-1, 1, 1)) / network.input_deviation.view(-1, 1, 1)
    assert network.in_channels == 15
    assert standardized.abs().max() == 0


def test_oracle_marks_the_page(tmp_path: Path) -> None:
    recipe = tiny(selection="oracle", train={**SHORT, "keep": "all"})
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
    assert {f.name for f in dataclasses.fields(finished)} == {
        *("folder", "report", "scores", "summary", "comparisons", "pooled", "pooled_comparisons"),
    }
    assert finished.pooled.empty and finished.pooled_comparisons.empty, "one unseen domain is no mean of several"
