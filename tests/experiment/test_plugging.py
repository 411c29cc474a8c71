"""Units fitted within a run: on the fold's training images alone, kept in the bundle, part of the scores' key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from experiment_recipes import TINY, tiny
from unshift import discover
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.experiment import plugging
from unshift.experiment.plugging import as_network_sees, fit_plugins, identity_of_plugins
from unshift.experiment.run import prepare, run
from unshift.experiment.testing import prediction_path
from unshift.experiment.training import train
from unshift.export.bundle import load_bundle
from unshift.geometry import InputConfig
from unshift.predict.settings import PredictConfig
from unshift.sample import Case, Sample

DIN = {"name": "din", "levels": "multi", "steps": 4, "check_every": 2, "batch_size": 2}
PIPELINES = {
    "baseline": {},
    "adain": {"plugins": [{"name": "adain", "levels": "multi"}]},
    "none": {"plugins": [{"name": "adain", "strength": 0.0}]},
    "din": {"plugins": [DIN]},
}


def plugged(**changes: Any) -> Any:
    return tiny(**{"pipelines": PIPELINES, "content": {"count": 6}, **changes})


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(plugged(), runs=tmp_path_factory.mktemp("runs"))


def test_all_pipelines_share_one_training_and_strength_0_is_the_baseline(result: Any) -> None:
    assert len(list((result.folder.parent / "trainings").iterdir())) == 1
    values = result.scores.pivot_table(index=["case", "domain", "metric"], columns="pipeline", values="value")
    assert values["none"].equals(values["baseline"].rename("none"))


def test_units_change_what_the_network_says_and_strength_0_does_not(result: Any) -> None:
    current, plan = prepare(plugged(), root=None, runs=result.folder.parent)
    sample = current.dataset.read_image(plan[0].test[0])
    said = {}
    for name in PIPELINES:
        bundle = load_bundle(result.folder / "bundles" / plan[0].name / "0" / name)
        with_probabilities = replace(bundle, predict=PredictConfig(probabilities=True))
        said[name] = with_probabilities.predictor().predict(sample).probabilities
    assert torch.equal(said["none"], said["baseline"])
    assert len({tuple(p.flatten().tolist()) for p in said.values()}) == 3


def test_the_bundle_brings_the_units(result: Any) -> None:
    current, plan = prepare(plugged(), root=None, runs=result.folder.parent)
    case = next(c for c in plan[0].test if c.domain == "B")
    for name in ("adain", "din"):
        bundle = load_bundle(result.folder / "bundles" / plan[0].name / "0" / name)
        assert type(bundle.plugins[0]) is discover.load("plugins", name)
        label_map = bundle.predictor().predict(current.dataset.read_image(case)).label_map
        path = prediction_path(result.folder, name, plan[0].name, 0, case)
        assert np.array_equal(label_map.numpy(), np.asarray(Image.open(path.with_name(path.name + ".png"))))


def test_what_fitting_logged_is_kept(result: Any) -> None:
    lines = (result.folder / "plugins" / "B" / "0" / "din.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in entries] == [2, 4]
    assert all(np.isfinite(list(entry.values())).all() for entry in entries)
    assert not (result.folder / "plugins" / "B" / "0" / "adain.jsonl").exists()


def test_the_report_names_the_units(result: Any) -> None:
    assert "plugins: din (steps 4, " in result.report.read_text(encoding="utf-8")


def test_only_training_cases_of_the_fold_are_opened(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    current, plan = prepare(plugged(), root=None, runs=result.folder.parent)
    training = train(current, "adain", plan[0], seed=0)
    opened: list[str] = []
    read = current.dataset.read_image

    def noted(case: Case) -> Sample:
        opened.append(case.key)
        return read(case)

    monkeypatch.setattr(current.dataset, "read_image", noted)
    fit_plugins(current, "adain", plan[0], training, seed=0)
    assert set(opened) == {case.key for case in plan[0].train}


def test_content_of_neighbouring_slices_is_no_color(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three channels that are three slices of a grey volume get one grey picture three times."""
    organs = {"name": "phantom", "world": "organs", "domains": ["site1", "ct"], "size": [8, 32, 32], "cases": 8}
    recipe = plugged(
        dataset=organs,
        protocol={"sources": ["site1"], "targets": ["ct"], "validation": 0.2, "test": 0.3},
        input={"mode": "resize", "size": [32, 32], "neighbours": 1},
        train={"steps": 1, "batch_size": 2, "precision": "32"},
    )
    current, plan = prepare(recipe, root=None, runs=tmp_path)
    training = train(current, "adain", plan[0], seed=0)
    given: list[Sample] = []
    monkeypatch.setattr(
        plugging, "fit_plugin", lambda r, n, style, content, seed: given.extend(content) or Mock(history=[])
    )
    fit_plugins(current, "adain", plan[0], training, seed=0)
    assert len(given) == 6
    assert all(torch.equal(s.image[0], channel) for s in given for channel in s.image)


def test_photographs_that_are_missing_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: no such folder"):
        prepare(plugged(content={"folder": str(tmp_path / "gone")}), root=None, runs=tmp_path)


def test_identity_follows_settings_and_photographs(tmp_path: Path) -> None:
    def key(content: dict[str, Any], **settings: Any) -> list[Any]:
        pipelines = {**PIPELINES, "adain": {"plugins": [{"name": "adain", **settings}]}}
        return identity_of_plugins(plugged(pipelines=pipelines, content=content), "adain")

    assert identity_of_plugins(plugged(), "baseline") == []
    assert key({"count": 6}) == key({"count": 6})
    (tmp_path / "a.png").write_bytes(b"one")
    found = [key({"count": 6}), key({"count": 7}), key({"count": 6}, strength=0.5), key({"folder": str(tmp_path)})]
    (tmp_path / "a.png").write_bytes(b"other")
    found.append(key({"folder": str(tmp_path)}))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "deeper" / "a.png")
    found.append(key({"folder": str(tmp_path)}))
    assert len({json.dumps(entry, default=str) for entry in found}) == 6
    (tmp_path / "readme.txt").write_text("no photograph")
    assert key({"folder": str(tmp_path)}) == found[-1]


@pytest.mark.parametrize(
    ("plugins", "error", "message"),
    [
        ([{"name": "adan"}], UnknownName, "unknown plugin 'adan'. Did you mean 'adain'"),
        ([{"name": "adain", "strenth": 1}], ConfigError, "unknown key. Did you mean 'strength'"),
        (["adain", "adain"], ConfigError, "at most 1 item"),
    ],
)
def test_wrong_plugins_are_named(plugins: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tiny(pipelines={**TINY["pipelines"], "x": {"plugins": plugins}})


def sample(*space: int, label_map: bool = True) -> Sample:
    image = torch.arange(float(np.prod(space))).reshape(1, *space)
    labels = (image[0] > image.median()).long() if label_map else None
    return Sample(image, "c", "p", "d", label_map=labels, field_of_view=image[0] > 3)


def test_whole_images_come_once_and_patches_as_often_as_asked() -> None:
    whole = as_network_sees([sample(20, 24)], InputConfig(size=(16, 16)), count=5)
    assert [tuple(s.image.shape) for s in whole] == [(1, 16, 16)]
    patches = as_network_sees([sample(20, 24)], InputConfig(mode="window", size=(16, 16)), count=5)
    assert len(patches) == 5 and len({float(s.image.sum()) for s in patches}) > 1
    slices = as_network_sees([sample(6, 20, 24)], InputConfig(size=(16, 16), neighbours=1), count=3)
    assert [tuple(s.image.shape) for s in slices] == [(3, 16, 16)] * 3
    for seen in (*whole, *patches, *slices):
        assert seen.label_map is not None and seen.label_map.shape == seen.space
        assert seen.field_of_view is not None and (seen.case, seen.patient, seen.domain) == ("c", "p", "d")


def test_images_without_labels_can_be_seen() -> None:
    (seen,) = as_network_sees([sample(20, 24, label_map=False)], InputConfig(mode="window", size=(16, 16)))
    assert seen.label_map is None
