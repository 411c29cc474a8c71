"""A training is stored under the hash of what determines it; preprocessing and standardization by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiment_recipes import TINY, tiny
from unshift import discover
from unshift.config import MemberRef
from unshift.contracts import Normalization
from unshift.errors import ProtocolError
from unshift.experiment.run import Result, prepare
from unshift.experiment.training import (
    apply,
    build_objective,
    channel_statistics,
    fit_normalizations,
    identity,
    train,
    training_key,
)
from unshift.recipe import Recipe
from unshift.sample import Sample


def sample(image: torch.Tensor, **more: object) -> Sample:
    return Sample(image, "c", "p", "d", **more)  # type: ignore[arg-type]


def key(recipe: Recipe, tmp_path: Path, pipeline: str = "baseline", seed: int = 0) -> str:
    current, plan = prepare(recipe, root=None, runs=tmp_path, record=False)
    return training_key(current, pipeline, plan[0], seed=seed)


@pytest.mark.parametrize(
    "change",
    [
        {"train": {**TINY["train"], "learning_rate": 0.01}},
        {"input": {"mode": "resize", "size": [16, 16]}},
        {"network": {"name": "unet", "widths": [4, 16]}},
        {"preprocessing": ["min_max"]},
        {"dataset": {**TINY["dataset"], "seed": 5}},
        {"protocol": {**TINY["protocol"], "validation": 0.5}},
        {"pipelines": {"baseline": {"objective": "augmented"}}},
        {"evaluate": {"metrics": ["dice", "hd95"], "both_empty": "perfect"}},
        {"selection": "oracle", "train": {**TINY["train"], "keep": "all"}},
        {"seeds": [7]},
    ],
)
def test_what_determines_a_training_changes_its_key(change: dict[str, object], tmp_path: Path) -> None:
    changed = tiny(**change)
    assert key(changed, tmp_path, seed=changed.seeds[0]) != key(tiny(), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "x"},
        {"evaluate": {"metrics": ["dice"]}},
        {"train": {**TINY["train"], "workers": 0, "max_minutes": 5.0}},
    ],
)
def test_what_does_not_determine_it_leaves_the_key(change: dict[str, object], tmp_path: Path) -> None:
    assert key(tiny(**change), tmp_path) == key(tiny(), tmp_path)


def test_the_content_of_a_weights_file_changes_the_key(tmp_path: Path) -> None:
    """Pretrained weights are told apart by what is in the file, not by its name."""
    found = []
    for content in (b"one", b"two"):
        (tmp_path / "w.safetensors").write_bytes(content)
        reference = MemberRef.model_validate({"name": "unet", "weights": str(tmp_path / "w.safetensors")})
        found.append(identity("networks", reference))
    assert found[0] != found[1]
    assert identity("objectives", MemberRef(name="erm")) != identity("objectives", MemberRef(name="augmented"))


def test_test_time_normalizations_share_the_training(tmp_path: Path) -> None:
    assert key(tiny(), tmp_path, "equalized") == key(tiny(), tmp_path, "baseline")


def test_initial_weights_follow_the_seed_alone() -> None:
    recipe, task = tiny(), discover.load("datasets", "phantom")
    task = task(task.Config(world="ultrasound")).task
    weights = []
    for seed in (1, 1, 2):
        torch.rand(3)
        objective = build_objective(recipe, "baseline", task, sources=("A",), seed=seed)
        weights.append(torch.cat([p.flatten() for p in objective.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_channel_statistics_by_hand() -> None:
    first = sample(torch.tensor([[[0.0, 2.0]], [[1.0, 1.0]]]))
    second = sample(torch.tensor([[[4.0, 100.0]], [[1.0, 100.0]]]), field_of_view=torch.tensor([[True, False]]))
    mean, deviation = channel_statistics([first, second])
    assert mean.tolist() == pytest.approx([2.0, 1.0])
    assert deviation.tolist() == pytest.approx([(8 / 3) ** 0.5, 0.0])


def test_preprocessing_gives_one_view() -> None:
    class Twice(Normalization):
        def views(self, sample: Sample) -> list[Sample]:
            return [sample, sample]

    with pytest.raises(ProtocolError, match="Twice gives 2 views; preprocessing gives exactly one"):
        apply([Twice(None)], sample(torch.zeros(1, 2, 2)))


def test_normalizations_are_fitted_on_what_the_ones_before_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    member = discover.load("normalizations", "zscore")
    monkeypatch.setattr(
        member, "fit", lambda self, samples: (seen.extend(float(s.image.max()) for s in samples), self)[1]
    )
    references = (MemberRef.model_validate({"name": "min_max", "low": 0.0, "high": 100.0}), MemberRef(name="zscore"))
    fit_normalizations(references, lambda: iter([sample(torch.tensor([[[0.0, 50.0]]]))]))
    assert seen == pytest.approx([1.0])


def test_a_stored_training_is_loaded_not_repeated(finished: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    current, plan = prepare(tiny(), root=None, runs=finished.folder.parent)
    monkeypatch.setattr(
        "unshift.train.loader.Loader.batch", lambda *_, **__: pytest.fail("a finished training read a batch")
    )
    training = train(current, "baseline", plan[0], seed=0)
    assert training.trained.finished
    assert not training.objective.training
