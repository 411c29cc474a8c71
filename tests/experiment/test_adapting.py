"""Adaptation in an experiment: who sees which images of the target, what is never opened, what the run says about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiment_recipes import TINY, tiny
from unshift.contracts import Dataset
from unshift.datasets.phantom import Phantom
from unshift.errors import DataError, ProtocolError
from unshift.evaluate.split import read_split
from unshift.experiment.evidence import describe_protocol
from unshift.experiment.run import Result, prepare, run
from unshift.experiment.testing import bundle_path
from unshift.experiment.training import training_key
from unshift.recipe import Recipe
from unshift.sample import Case
from unshift.train.loader import UnlabeledLoader

SHORT = {**TINY["train"], "steps": 2, "validate_every": 2, "workers": 0}
BOTH = {"baseline": {}, "adabn": {"objective": "adabn"}}


def adapting(**changes: Any) -> Recipe:
    return tiny(**{"train": SHORT, "pipelines": BOTH, "evaluate": {"metrics": ["dice"]}, **changes})


def key(recipe: Recipe, tmp_path: Path, pipeline: str) -> str:
    current, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    return training_key(current, pipeline, plan[0], seed=0)


@pytest.fixture(scope="module")
def opened() -> set[str]:
    return set()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, opened: set[str]) -> tuple[Result, Recipe]:
    """A run in which every label that is read is written down, and every unlabeled batch."""
    with pytest.MonkeyPatch.context() as patch:
        read, batch = Phantom.read_label_map, UnlabeledLoader.batch

        def door(dataset: Dataset, case: Case) -> object:
            opened.add(case.key)
            return read(dataset, case)  # type: ignore[arg-type]

        def shown(loader: UnlabeledLoader, *arguments: Any, **more: Any) -> object:
            found = batch(loader, *arguments, **more)
            opened.update(f"shown {d}/{c}" for d, c in zip(found.domains, found.cases, strict=True))
            return found

        patch.setattr(Phantom, "read_label_map", door)
        patch.setattr(UnlabeledLoader, "batch", shown)
        return run(adapting(), runs=tmp_path_factory.mktemp("adapting")), adapting()


def test_labels_of_unlabeled_images_are_never_opened(done: tuple[Result, Recipe], opened: set[str]) -> None:
    _, (fold,) = prepare(done[1], root=None, runs=done[0].folder.parent)
    unlabeled = {case.key for case in fold.unlabeled}
    assert len(unlabeled) == 8 and not unlabeled & opened
    assert {case.key for case in fold.test} <= opened
    shown = {name.removeprefix("shown ") for name in opened if name.startswith("shown ")}
    assert shown and shown <= unlabeled


def test_all_pipelines_are_tested_on_the_same_cases(done: tuple[Result, Recipe]) -> None:
    scores = done[0].scores
    tested = {name: {*rows["case"]} for name, rows in scores[scores["domain"] == "B"].groupby("pipeline")}
    assert set(tested) == {"baseline", "adabn"} and tested["baseline"] == tested["adabn"]
    assert len(tested["adabn"]) == 8


def test_the_run_says_who_saw_what(done: tuple[Result, Recipe]) -> None:
    current, plan = prepare(done[1], root=None, runs=done[0].folder.parent)
    text = describe_protocol(current, plan)
    assert "on 8 cases of B, which training never saw" in text
    assert "Pipelines of adaptation also saw, without labels, 8 images of B, of other patients" in text
    assert "also saw, without labels, 8 images of B" in done[0].report.read_text(encoding="utf-8")
    assert read_split(done[0].folder / "split.json", current.dataset) == plan
    cards = [
        (bundle_path(done[0].folder, name, plan[0].name, 0) / "bundle.yaml").read_text(encoding="utf-8")
        for name in BOTH
    ]
    assert "without labels, B (8 cases)" not in cards[0] and "without labels, B (8" in cards[1]


def test_a_transductive_run_says_so(tmp_path: Path) -> None:
    recipe = adapting(protocol={**TINY["protocol"], "adapt": "transductive"})
    current, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    text = describe_protocol(current, plan)
    assert "TRANSDUCTIVE" in text and "never saw" not in text and "these 16 cases of B" in text
    assert plan[0].unlabeled == tuple(case for case in plan[0].test if case.domain == "B")


def test_unlabeled_cases_decide_the_key_of_adaptation_and_of_nothing_else(tmp_path: Path) -> None:
    more = adapting(protocol={**TINY["protocol"], "adapt_share": 0.7})
    assert key(more, tmp_path, "adabn") != key(adapting(), tmp_path, "adabn")
    assert (
        key(more, tmp_path, "baseline")
        == key(adapting(), tmp_path, "baseline")
        == key(tiny(train=SHORT), tmp_path, "baseline")
    )


def folders(root: Path, **images: int) -> Path:
    """Domain a of eight pictures, and domain b with a number of pictures."""
    rng = np.random.default_rng(0)
    for domain, count in {"a": 8, **images}.items():
        for part in ("images", "masks"):
            (root / domain / part).mkdir(parents=True)
            for i in range(count):
                grey = rng.integers(0, 255, (32, 32), dtype=np.uint8)
                Image.fromarray(grey if part == "images" else np.eye(32, dtype=np.uint8)).save(
                    root / domain / part / f"{i}.png"
                )
    return root


def on_files(adapt: str = "held_out") -> Recipe:
    return adapting(
        dataset={"name": "folder", "channels": 1},
        protocol={"sources": ["a"], "targets": ["b"], "validation": 0.2, "test": 0.2, "adapt": adapt},
        train={**SHORT, "steps": 1, "validate_every": 1},
    )


@pytest.mark.parametrize(("count", "adapt"), [(5, "held_out"), (1, "transductive")])
def test_a_target_folder_of_five_images_or_of_one(tmp_path: Path, count: int, adapt: str) -> None:
    result = run(on_files(adapt), root=folders(tmp_path / "set", b=count), runs=tmp_path / "runs")
    scores = result.scores
    assert len(set(scores[(scores["domain"] == "b") & (scores["pipeline"] == "adabn")]["case"])) == {5: 2, 1: 1}[count]


def test_a_target_folder_of_one_image_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"1 patient\(s\), which cannot be on both sides.*adapt: transductive"):
        prepare(on_files(), root=folders(tmp_path / "set", b=1), runs=tmp_path / "runs", record=False)


def test_a_target_folder_without_images_says_what_is_required(tmp_path: Path) -> None:
    with pytest.raises((DataError, ProtocolError), match="b.*(no cases|no image|empty|holds)"):
        prepare(on_files(), root=folders(tmp_path / "set", b=0), runs=tmp_path / "runs", record=False)


def test_a_target_in_color_is_read_as_the_task_says(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", b=4)
    for path in (root / "b" / "images").iterdir():
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    scores = run(on_files(), root=root, runs=tmp_path / "runs").scores
    assert scores[scores["domain"] == "b"]["value"].between(0, 1).all()
