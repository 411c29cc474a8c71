"""A training after another: order, keys, what is taken over, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from experiment_recipes import TINY, tiny
from unshift.cli.main import build
from unshift.config import to_yaml
from unshift.errors import ConfigError, ProtocolError
from unshift.evaluate.protocol import Fold
from unshift.experiment.events import Event
from unshift.experiment.record import Run
from unshift.experiment.replay import variants
from unshift.experiment.run import jobs, prepare, run
from unshift.experiment.training import Training, apply, fit_normalizations, train, train_jobs
from unshift.networks.stored_translator import read_translator
from unshift.recipe import Recipe
from unshift.sample import Task
from unshift.train.loader import UnlabeledLoader

FIRST: dict[str, Any] = {
    "name": "style_translation",
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
}
SHORT = {**TINY["train"], "steps": 2, "validate_every": 2, "checkpoint_every": 1, "workers": 0}


def staged(*, first: Any = FIRST, steps: int = 3, **changes: Any) -> Recipe:
    rows = {
        "glua": {"objective": {"name": "glua", "translation": FIRST}, "after": "translation"},
        "global": {"objective": FIRST, "after": "translation"},
        "translation": {"objective": first, "train": {"steps": steps}},
        "baseline": {},
    }
    settings = {"train": SHORT, "preprocessing": ["min_max"], "evaluate": {"metrics": ["dice"]}, "pipelines": rows}
    return tiny(**{**settings, "selection": "last", **changes})


def opened(recipe: Recipe, runs: Path) -> tuple[Run, Fold]:
    current, plan = prepare(recipe, root=None, runs=runs, record=False)
    return current, plan[0]


def keys(recipe: Recipe, runs: Path, pipeline: str) -> list[str]:
    current, fold = opened(recipe, runs)
    return [job.key for job in train_jobs(current, pipeline, fold, seed=0)]


def weights(training: Training, step: int) -> dict[str, torch.Tensor]:
    return load_file(training.trained.folder / "checkpoints" / f"step_{step:06d}" / "weights.safetensors")


def test_the_first_stage_is_planned_first_and_once(tmp_path: Path) -> None:
    current, plan = prepare(staged(), root=None, runs=tmp_path, record=False)
    trained = [(job.name, job.total) for job in jobs(current, plan) if job.kind == "train"]
    assert trained == [
        ("train translation · B · seed 0", 3),
        ("train glua · B · seed 0 · after translation", 2),
        ("train global · B · seed 0 · after translation", 2),
        ("train baseline · B · seed 0", 2),
    ]


@pytest.mark.parametrize("verb", [["bench"], ["train", "--pipeline", "glua"]])
def test_a_dry_run_shows_both_stages(verb: list[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(to_yaml(staged()), encoding="utf-8")
    arguments = [verb[0], str(tmp_path / "r.yaml"), *verb[1:], "--runs", str(tmp_path / "runs"), "--dry-run"]
    shown = CliRunner().invoke(build(arguments), arguments)
    assert shown.exit_code == 0, shown.output
    first, then = (shown.output.index(f"train {name}") for name in ("translation", "glua"))
    assert first < then and "glua" in shown.output[then:] and " · after translation" in shown.output[then:]


def test_the_first_stage_is_part_of_the_key(tmp_path: Path) -> None:
    first, second = keys(staged(), tmp_path, "glua")
    assert keys(staged(), tmp_path, "translation") == [first] and keys(staged(), tmp_path, "global")[0] == first
    longer = keys(staged(steps=4), tmp_path, "glua")
    assert first != longer[0] and second != longer[1]
    alone = staged(pipelines={"baseline": {"objective": {"name": "glua", "translation": FIRST}}})
    assert keys(alone, tmp_path, "baseline")[0] not in (first, second)
    assert keys(staged(), tmp_path, "baseline") == keys(staged(pipelines={"baseline": {}}), tmp_path, "baseline")


def test_the_second_stage_has_the_firsts_last_translator_and_leaves_it(tmp_path: Path) -> None:
    current, fold = opened(staged(), tmp_path)
    second, first = (train(current, name, fold, seed=0) for name in ("glua", "translation"))
    assert len(list((tmp_path / "trainings").iterdir())) == 2
    assert second.objective.phases == ("feature_discriminator", "segmenter") and (first.step, second.step) == (3, 2)
    before, after = weights(first, 3), weights(second, 2)
    average = {name: tensor for name, tensor in before.items() if name.startswith("average.")}
    assert average and all(torch.equal(after[f"translation.{name}"], tensor) for name, tensor in average.items())
    assert not [name for name in after if name.startswith(("translation.translator", "translation.judges"))]
    noted = json.loads((current.folder / "trainings.json").read_text(encoding="utf-8"))
    assert noted == {"B/0/translation": first.key, "B/0/glua": second.key}


def test_a_second_stage_that_is_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    current, fold = opened(staged(), tmp_path / "one")
    whole = train(current, "glua", fold, seed=0)
    current, fold = opened(staged(), tmp_path / "two")

    def stop(event: Event) -> None:
        if event.job.startswith("train glua") and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(current, listener=stop), "glua", fold, seed=0)
    kept = (tmp_path / "two" / "trainings" / whole.key / "checkpoints").iterdir()
    assert [folder.name for folder in kept] == ["step_000001"]
    again = train(current, "glua", fold, seed=0)
    expected, found = weights(whole, 2), weights(again, 2)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_bank_of_styles_is_kept_with_the_training_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    banked = {**FIRST, "styles": "bank"}
    rows = {
        "glua": {"objective": {"name": "glua", "translation": banked}, "after": "translation"},
        "translation": {"objective": FIRST},
        "baseline": {},
    }
    current, fold = opened(staged(pipelines=rows), tmp_path)
    done = train(current, "glua", fold, seed=0)
    translator, bank = read_translator(done.trained.folder / "translator.safetensors")
    assert bank is not None and len(bank.codes) == len(fold.unlabeled)
    style = translator.style["target"]
    images = torch.cat(list(loader_of(current, fold).volumes()))
    torch.testing.assert_close(bank.codes, style(2 * images - 1).detach())
    monkeypatch.setattr("unshift.experiment.staging.fit_bank", lambda *_, **__: pytest.fail("fitted again"))
    assert train(current, "glua", fold, seed=0).key == done.key


def loader_of(current: Run, fold: Fold) -> UnlabeledLoader:
    recipe = current.recipe
    steps = fit_normalizations(recipe.preprocessing, lambda: map(current.dataset.read_image, fold.train))
    settings: dict[str, Any] = {"input": recipe.input, "config": recipe.train, "prepare": partial(apply, steps)}
    return UnlabeledLoader(current.dataset, fold.unlabeled, seed=0, **settings)


def test_a_bank_without_a_first_stage_is_refused_before_any_training(tmp_path: Path) -> None:
    rows = {"baseline": {}, "alone": {"objective": {**FIRST, "styles": "bank"}}}
    with pytest.raises(
        ConfigError, match=r"Pipeline alone: objective style_translation: `styles: bank` takes the styles"
    ):
        run(staged(pipelines=rows), runs=tmp_path)
    assert not (tmp_path / "trainings").exists()


def test_a_run_of_both_stages_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: staged().pipelines[name].model_dump(mode="json") for name in ("baseline", "global", "translation")}
    recipe = staged(pipelines=rows, evaluate={"metrics": ["dice"], "resamples": 100})
    done = run(recipe, runs=tmp_path)
    assert len(list((tmp_path / "trainings").iterdir())) == 3
    assert "after translation" in done.report.read_text(encoding="utf-8")
    monkeypatch.setattr(
        "unshift.train.loader.Loader.batch", lambda *_, **__: pytest.fail("a finished training read a batch")
    )
    current, fold = opened(recipe, tmp_path)
    assert train(current, "global", fold, seed=0).trained.finished


def test_a_first_stage_that_the_clock_stopped_is_no_ground(tmp_path: Path) -> None:
    current, fold = opened(staged(train={**SHORT, "max_minutes": 1e-9}), tmp_path)
    with pytest.raises(ProtocolError, match="after 'translation', whose training max_minutes stopped at step"):
        train(current, "glua", fold, seed=0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"objective": "adabn", "after": "translation"}, "objective adabn takes nothing from another training"),
        ({"objective": FIRST, "after": "baseline"}, "found EmpiricalRisk, which gives no translator"),
        ({"objective": {"name": "glua", "translation": None}, "after": "translation"}, "its translation, as it is set"),
        ({"objective": {**FIRST, "average": 0.5}, "after": "translation"}, "average of style_translation differ"),
        ({"objective": "glua", "after": "translation"}, "translator, judges of style_translation differ"),
    ],
)
def test_what_cannot_be_taken_over_is_said_before_anything_is_written(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    recipe = staged(pipelines={"baseline": {}, "translation": {"objective": FIRST}, "second": row})
    with pytest.raises(ConfigError, match=f"pipelines.second: after .*{message}"):
        prepare(recipe, root=None, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_replay_changes_the_rows_own_settings_too() -> None:
    found = variants(staged(), "ram_dsir_2022", Task(1, ("background", "head")))
    every = found["checkpoint"]
    assert every.selection == "oracle" and every.train.keep == every.train_of("translation").keep == "all"
    assert (every.train_of("translation").steps, every.train_of("glua").steps) == (3, 2)
    assert found["batch_norm"].pipelines == staged().pipelines
