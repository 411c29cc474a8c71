"""What is refused before anything is trained, and what the look at first losses leaves as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiment_recipes import TINY, tiny
from unshift.datasets.phantom import Phantom
from unshift.errors import DataError, ProtocolError, ShapeMismatch
from unshift.experiment import preflight as module
from unshift.experiment.preflight import preflight, warn_of_selection
from unshift.experiment.run import prepare, run
from unshift.recipe import Recipe
from unshift.sample import Case


def on_files(**protocol: Any) -> Recipe:
    shares = {"sources": ["a"], "targets": ["b"], "validation": 0.2, "test": 0.2, "adapt": "held_out", **protocol}
    pipelines = {"baseline": {}, "adabn": {"objective": "adabn"}}
    train = {**TINY["train"], "steps": 1, "validate_every": 1, "workers": 0}
    return tiny(dataset={"name": "folder", "channels": 1}, protocol=shares, train=train, pipelines=pipelines)


def without_masks(root: Path, domain: str) -> Path:
    """Domain a of eight pictures and domain b of five; one of them is not labeled."""
    for name, count in {"a": 8, "b": 5}.items():
        for part in ("images", "masks") if name != domain else ("images",):
            (root / name / part).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.eye(32, dtype=np.uint8) * (i + 1 if part == "images" else 1)).save(
                    root / name / part / f"{i}.png"
                )
    return root


def test_a_case_is_labeled_by_its_file_or_because_it_is_generated() -> None:
    assert not Case("x", "x", "a", images=(Path("x.png"),)).is_labeled
    assert Case("x", "x", "a", images=(Path("x.png"),), labels=Path("y.png")).is_labeled
    assert Case("x", "x", "a").is_labeled


def test_a_target_without_labels_is_not_tested_and_nothing_is_trained_for_it(tmp_path: Path) -> None:
    root = without_masks(tmp_path / "set", "b")
    with pytest.raises(ProtocolError, match=r"2 case\(s\) of b have no label map.*unshift train RECIPE"):
        run(on_files(), root=root, runs=tmp_path / "runs")
    assert not (tmp_path / "runs" / "trainings").exists()


def test_a_target_without_labels_can_be_trained_for(tmp_path: Path) -> None:
    root = without_masks(tmp_path / "set", "b")
    current, plan = prepare(on_files(), root=root, runs=tmp_path / "runs", record=False)
    preflight(current, plan, pipelines=["adabn"])
    assert not (tmp_path / "runs").exists()


def test_sources_without_labels_are_refused_by_name_and_place(tmp_path: Path) -> None:
    current, plan = prepare(on_files(), root=without_masks(tmp_path / "set", "a"), runs=tmp_path, record=False)
    with pytest.raises(ProtocolError, match=r"of a have no label map.*protocol\.sources(.|\n)*masks/<case>"):
        preflight(current, plan, pipelines=["baseline"])


def test_an_upper_bound_on_a_target_without_labels_is_refused(tmp_path: Path) -> None:
    recipe = on_files(upper_bound=True)
    current, plan = prepare(recipe, root=without_masks(tmp_path / "set", "b"), runs=tmp_path, record=False)
    with pytest.raises(ProtocolError, match=r"of b have no label map.*upper_bound: false"):
        preflight(current, plan[1:], pipelines=["baseline"])


def test_every_file_is_opened_before_the_first_training_and_all_that_is_wrong_is_named(tmp_path: Path) -> None:
    root = without_masks(tmp_path / "set", "")
    (root / "b" / "images" / "3.png").write_bytes(b"nothing")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(root / "a" / "masks" / "1.png")
    recipe = on_files(leave_one_out=True, sources=["a", "b"], targets=None)
    with pytest.raises(DataError, match=r"2 of 13 case\(s\) cannot be used; nothing was trained") as caught:
        run(recipe, root=root, runs=tmp_path / "runs")
    assert all(f"{name}.png" in str(caught.value) for name in ("b/images/3", "a/masks/1"))
    assert not (tmp_path / "runs" / "trainings").exists()


def test_label_maps_that_are_only_tested_stay_closed_before_the_test(tmp_path: Path) -> None:
    root = without_masks(tmp_path / "set", "")
    for number in range(5):
        (root / "b" / "masks" / f"{number}.png").write_bytes(b"locked")
    current, plan = prepare(on_files(), root=root, runs=tmp_path / "runs", record=False)
    told: list[str] = []
    preflight(dataclasses.replace(current, listener=lambda event: told.append(event.job)), plan)
    assert told == ["open every file"] * 13
    preflight(dataclasses.replace(current, listener=lambda event: told.append(event.job)), plan)
    assert len(told) == 13  # the same state of the data: looked at already


def test_a_folder_of_a_domain_without_images_in_it_says_so(tmp_path: Path) -> None:
    root = without_masks(tmp_path / "set", "b")
    (root / "b" / "images").rename(root / "b" / "pictures")
    with pytest.raises(ProtocolError, match=r"domain 'b': the folder .*b is there, but it has no folder images/"):
        prepare(on_files(), root=root, runs=tmp_path, record=False)


SMALL = {"mode": "window", "size": [16, 16]}
LATER = {"baseline": {}, "local": {"objective": "advent"}}


def test_what_a_later_row_says_at_its_first_batch_is_said_before_the_first_training(tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match=r"Pipeline local: .*16×16"):
        run(tiny(pipelines=LATER, input=SMALL), runs=tmp_path)
    assert not (tmp_path / "trainings").exists()


def test_intensities_that_an_objective_cannot_take_are_seen_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Phantom.read_image
    monkeypatch.setattr(Phantom, "read_image", lambda self, case: (s := read(self, case)).replace(image=100 * s.image))
    recipe = tiny(pipelines={"baseline": {}, "recolored": {"objective": "slaug"}})
    with pytest.raises(DataError, match=r"Pipeline recolored: .*\[0, 1\]"):
        run(recipe, runs=tmp_path)
    assert not (tmp_path / "trainings").exists()


def test_random_state_is_kept_equal_rows_are_asked_once_and_stored_trainings_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(pipelines={"baseline": {}, "again": {}})
    current, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    asked: list[str] = []
    ask = module._ask

    def asking(*given: Any, **more: Any) -> None:
        asked.append(given[1])
        ask(*given, **more)

    monkeypatch.setattr(module, "_ask", asking)
    before = torch.get_rng_state()
    preflight(current, plan)
    assert asked == ["baseline"] and torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(module, "steps_kept", lambda folder: [1])
    preflight(current, plan)
    assert asked == ["baseline"]


def test_one_fold_of_a_kind_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "_ask", lambda current, pipeline, fold, **more: asked.append((fold.name, pipeline)))
    protocol = {"leave_one_out": True, "upper_bound": True, "validation": 0.2, "test": 0.2}
    current, plan = prepare(tiny(protocol=protocol), root=None, runs=tmp_path, record=False)
    preflight(current, plan)
    kinds = {fold.name: fold.kind for fold in plan}
    assert len(plan) == 4 and sorted(kinds[name] for name, _ in asked) == ["held_out", "upper_bound"]
    assert plan[0].kind == "held_out" and plan[0].name in dict(asked)  # the first of its kind


def test_a_selection_on_images_that_are_not_trained_for_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    rows = {"baseline": {}, "moved": {"objective": "style_translation"}, "both": {"objective": "glua"}}
    local = {"local": {"objective": {"name": "glua", "translation": None}}}
    warn_of_selection(tiny(pipelines={**rows, **local}, selection="source_validation"))
    assert [record.message.count("and moved, both learn from translated ones") for record in caplog.records] == [1]
    caplog.clear()
    warn_of_selection(tiny(pipelines=rows, selection="last"))
    warn_of_selection(tiny(pipelines={"baseline": {}, **local}, selection="source_validation"))
    assert not caplog.records
