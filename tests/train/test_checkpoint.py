"""Checkpoints: complete or not there, exact, pruned, and named errors for damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_doubles import Noisy, TwoPhases, build, loader, target_loader

from unshift.errors import BundleError
from unshift.train.checkpoint import State, load_weights, prune, read_state, restore, save, steps_kept
from unshift.train.optimization import build_optimizers
from unshift.train.settings import TrainConfig


def trained(kind: type = TwoPhases, *, steps: int = 3, optimizer: str = "adam"):
    """An objective and its optimizers after some updates, made by hand."""
    config = TrainConfig(batch_size=4, optimizer=optimizer)
    objective = build(kind).to(memory_format=torch.channels_last)
    optimizers = build_optimizers(objective, config)
    batches, targets = loader(config), target_loader(config)
    for step in range(steps):
        for phase in objective.phases:
            optimizers[phase].zero_grad()
            sum(objective(batches.batch(step), targets.batch(step), phase=phase).values()).backward()
            optimizers[phase].step()
    return objective, optimizers


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    objective, optimizers = trained(optimizer=optimizer)
    save(tmp_path, objective, optimizers, State(step=3, seconds=1.5, best_score=0.25, best_step=2))
    other, others = trained(steps=1, optimizer=optimizer)
    restore(tmp_path, other, others, 3)
    for name, tensor in objective.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for phase in objective.phases:
        before, after = optimizers[phase].state_dict(), others[phase].state_dict()
        assert before["param_groups"] == after["param_groups"]
        assert before["state"].keys() == after["state"].keys()
        for index, entries in before["state"].items():
            for key, value in entries.items():
                found = after["state"][index][key]
                assert torch.equal(found, value) and found.stride() == value.stride() and found.dtype == value.dtype
    assert read_state(tmp_path, 3) == State(step=3, seconds=1.5, best_score=0.25, best_step=2)


def test_no_pickle_and_no_draft_is_left(tmp_path: Path) -> None:
    path = save(tmp_path, *trained(), State(step=3))
    assert sorted(p.name for p in path.iterdir()) == ["optimizer.safetensors", "state.json", "weights.safetensors"]
    assert [p.name for p in path.parent.iterdir()] == ["step_000003"]


def test_saving_a_step_again_moves_only_the_counters(tmp_path: Path) -> None:
    objective, optimizers = trained()
    path = save(tmp_path, objective, optimizers, State(step=3))
    before = (path / "weights.safetensors").stat().st_mtime_ns
    save(tmp_path, objective, optimizers, State(step=3, stopped="steps"))
    assert read_state(tmp_path, 3).stopped == "steps"
    assert (path / "weights.safetensors").stat().st_mtime_ns == before


def keep_some(folder: Path, keep: str) -> None:
    objective, optimizers = trained()
    for step, validated in ((10, True), (15, False), (20, True), (25, False)):
        save(folder, objective, optimizers, State(step=step, validated_step=step if validated else 20, best_step=10))
        prune(folder, newest=step, best=10, keep=keep)  # type: ignore[arg-type]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    keep_some(tmp_path, "best")
    assert steps_kept(tmp_path) == [10, 25]
    assert not (tmp_path / "checkpoints" / "step_000010" / "optimizer.safetensors").exists()
    assert (tmp_path / "checkpoints" / "step_000025" / "optimizer.safetensors").exists()


def test_keep_all_keeps_what_was_validated(tmp_path: Path) -> None:
    keep_some(tmp_path, "all")
    assert steps_kept(tmp_path) == [10, 20, 25]


def test_what_a_kill_leaves_is_not_a_checkpoint_and_goes_away(tmp_path: Path) -> None:
    save(tmp_path, *trained(), State(step=3))
    for name in (".draft-abc", ".removed-step_000001"):
        (tmp_path / "checkpoints" / name).mkdir()
    assert steps_kept(tmp_path) == [3]
    prune(tmp_path, newest=3, best=None, keep="best")
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000003"]
    assert steps_kept(tmp_path / "nowhere") == []


def test_last_best_and_step(tmp_path: Path) -> None:
    early, late = trained(steps=1), trained(steps=3)
    save(tmp_path, *early, State(step=1, best_step=1))
    save(tmp_path, *late, State(step=3, best_step=1))
    for which, expected in (("last", late), ("best", early), (1, early), (3, late)):
        fresh = build(TwoPhases)
        load_weights(fresh, tmp_path, which)  # type: ignore[arg-type]
        assert torch.equal(fresh.judge.weight, expected[0].judge.weight)


def test_errors(tmp_path: Path) -> None:
    objective, optimizers = trained()
    with pytest.raises(BundleError, match="no checkpoint; a training that has begun is required"):
        load_weights(objective, tmp_path, "last")
    path = save(tmp_path, objective, optimizers, State(step=3))
    with pytest.raises(BundleError, match="no validation was made"):
        load_weights(objective, tmp_path, "best")
    with pytest.raises(BundleError, match=r"no weights of step 7; kept are \[3\]"):
        load_weights(objective, tmp_path, 7)
    with pytest.raises(BundleError, match=r"judge.bias is unknown; judge.weight is unknown\. Build"):
        load_weights(build(Noisy), tmp_path, "last")
    (path / "weights.safetensors").write_bytes((path / "weights.safetensors").read_bytes()[:-9])
    with pytest.raises(BundleError, match="weights.safetensors: cannot be read"):
        load_weights(objective, tmp_path, "last")
    (path / "state.json").write_text(json.dumps({"stepp": 3}))
    with pytest.raises(BundleError, match="state.json: cannot be read"):
        read_state(tmp_path, 3)
