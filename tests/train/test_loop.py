"""The loop: exact resume, ends, validation, the journal, and what never happens."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_doubles import Discs, Noisy, TwoPhases, build, loader, sha256, target_loader

from unshift.errors import ConfigError, NumericalError
from unshift.train.journal import read_journal
from unshift.train.loop import Trained, fit
from unshift.train.settings import Progress, TrainConfig

CONFIG = TrainConfig(steps=12, batch_size=4, validate_every=5, checkpoint_every=4, learning_rate=1e-2, precision="32")


def run(folder: Path, config: TrainConfig = CONFIG, *, kind: type = Noisy, **changes: Any) -> tuple[Trained, Any]:
    objective = changes.pop("objective", None) or build(kind)
    targets = target_loader(config) if kind is TwoPhases else None
    seed = changes.pop("seed", 0)
    trained = fit(objective, loader(config), config=config, folder=folder, seed=seed, unlabeled=targets, **changes)
    return trained, objective


def weights(folder: Path, step: int = 12) -> str:
    return sha256(folder / "checkpoints" / f"step_{step:06d}" / "weights.safetensors")


class Stop(Exception):
    """Stands for a power cut: nothing is saved."""


def cut_at(step: int) -> Any:
    def listener(progress: Progress) -> None:
        if progress.step == step and progress.what == "training":
            raise Stop

    return listener


def test_the_loss_falls_and_the_folder_is_complete(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 60, "precision": "auto"})
    trained, objective = run(tmp_path, config)
    losses = [entry["loss"] for entry in read_journal(tmp_path) if entry["event"] == "step"]
    assert len(losses) == 60 and sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert trained == Trained(tmp_path, 60, None, None, True, "steps")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoints",
        "journal.jsonl",
        "tensorboard",
        "training.json",
    ]
    assert objective.training


@pytest.mark.parametrize("step", [1, 4, 7, 11])
@pytest.mark.parametrize("kind", [Noisy, TwoPhases])
def test_a_training_that_was_cut_ends_with_the_same_weights(tmp_path: Path, step: int, kind: type) -> None:
    run(tmp_path / "whole", kind=kind, validate=lambda o: float(o(torch.ones(1, 1, 4, 4)).mean()))
    with pytest.raises(Stop):
        run(
            tmp_path / "cut",
            kind=kind,
            listener=cut_at(step),
            validate=lambda o: float(o(torch.ones(1, 1, 4, 4)).mean()),
        )
    torch.manual_seed(step)
    run(tmp_path / "cut", kind=kind, validate=lambda o: float(o(torch.ones(1, 1, 4, 4)).mean()))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    for folder in ("whole", "cut"):
        entries = [e for e in read_journal(tmp_path / folder) if e["event"] in ("step", "validation")]
        facts = [(e["event"], e["step"], e.get("phase"), e.get("loss", e.get("score"))) for e in entries]
        assert len(facts) == len(set(facts)) == 12 * len(kind.phases) + 3
        whole = facts if folder == "whole" else whole
    assert facts == whole


def test_a_cut_in_mixed_precision(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"precision": "bf16-mixed", "optimizer": "sgd", "clip": 1.0, "accumulate": 2})
    run(tmp_path / "whole", config)
    with pytest.raises(Stop):
        run(tmp_path / "cut", config, listener=cut_at(6))
    run(tmp_path / "cut", config)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_everything_that_decides_decides(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", seed=1)
    run(tmp_path / "c", CONFIG.model_copy(update={"workers": 0, "cache_gigabytes": 0.0, "checkpoint_every": 5}))
    assert weights(tmp_path / "a") != weights(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "c")


def test_a_finished_training_is_returned_at_once(tmp_path: Path) -> None:
    first, trained = run(tmp_path)
    lines = read_journal(tmp_path)
    fresh = build(seed=3)
    again, _ = run(tmp_path, objective=fresh, listener=lambda p: pytest.fail("it trained"))
    assert again == first
    assert read_journal(tmp_path) == lines
    assert torch.equal(fresh.network.last.weight, trained.network.last.weight)


def test_another_configuration_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"config: learning_rate: 0.01 in the folder, 0.5 now"):
        run(tmp_path, CONFIG.model_copy(update={"learning_rate": 0.5}))


def test_validation_sees_evaluation_mode_and_modes_come_back(tmp_path: Path) -> None:
    objective = build()
    frozen = objective.network.first[1].eval()
    seen = []

    def validate(found: Any) -> float:
        assert found is objective and not any(module.training for module in found.modules())
        assert not torch.is_grad_enabled()
        seen.append(1)
        return float(len(seen) == 2)

    def freeze(progress: Progress) -> None:
        frozen.eval()

    trained, _ = run(tmp_path, objective=objective, validate=validate, listener=freeze)
    assert len(seen) == 3  # steps 5, 10 and 12
    assert (trained.best_step, trained.best_score) == (10, 1.0)
    assert objective.training and not frozen.training


def test_patience(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 100, "validate_every": 2, "patience": 3})
    trained, _ = run(
        tmp_path, config, validate=lambda o: math.nan if trained_steps(tmp_path) < 3 else -trained_steps(tmp_path)
    )
    assert (trained.stopped, trained.step, trained.best_step) == ("patience", 10, 4)


def trained_steps(folder: Path) -> float:
    return float(max(entry["step"] for entry in read_journal(folder)))


def test_max_minutes_counts_over_sessions_and_more_minutes_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("unshift.train.loop.time.monotonic", lambda: clock["now"])

    def minute(progress: Progress) -> None:
        clock["now"] += 60
        if progress.step == 3 and clock["now"] < 200:
            raise Stop

    config = CONFIG.model_copy(update={"max_minutes": 5.0, "steps": 12})
    with pytest.raises(Stop):
        run(tmp_path, config, listener=minute)
    trained, _ = run(tmp_path, config, listener=minute)
    assert (trained.stopped, trained.step) == (
        "max_minutes",
        3,
    )  # 2 minutes journaled, then 3: nothing was saved at first
    again, _ = run(tmp_path, config, listener=minute)
    assert again == trained
    more, _ = run(tmp_path, config.model_copy(update={"max_minutes": 100.0}), listener=minute)
    assert (more.stopped, more.step) == ("steps", 12)
    run(tmp_path / "whole")
    assert weights(tmp_path) == weights(tmp_path / "whole")


def test_ctrl_c_saves_the_finished_step(tmp_path: Path) -> None:
    class Pressed(Noisy):
        calls = 0

        def losses(self, *arguments: Any) -> Any:
            Pressed.calls += 1
            if Pressed.calls == 6:  # in the middle of the sixth step
                os.kill(os.getpid(), signal.SIGINT)
            return super().losses(*arguments)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "pressed", kind=Pressed)
    assert [p.name for p in (tmp_path / "pressed" / "checkpoints").iterdir()] == ["step_000006"]
    run(tmp_path / "pressed", kind=Pressed)
    run(tmp_path / "whole")
    assert weights(tmp_path / "pressed") == weights(tmp_path / "whole")


def test_keep_all_and_retained_files(tmp_path: Path) -> None:
    run(tmp_path, CONFIG.model_copy(update={"keep": "all"}), validate=lambda o: 1.0)
    found = {p.parent.name for p in (tmp_path / "checkpoints").glob("*/weights.safetensors")}
    assert found == {"step_000005", "step_000010", "step_000012"}
    assert [p.parent.name for p in (tmp_path / "checkpoints").glob("*/optimizer.safetensors")] == ["step_000012"]


def test_nan_stops_and_saves_nothing_bad(tmp_path: Path) -> None:
    class Broken(Noisy):
        def losses(self, phase: str, batch: Any, unlabeled: Any = None) -> Any:
            terms = super().losses(phase, batch)
            return {**terms, "extra": terms["dice"] * (math.nan if batch.seed == bad else 0.0)}

    bad = loader(CONFIG).batch(9).seed
    with pytest.raises(NumericalError, match=r"Step 9, phase 'train'.*extra=nan"):
        run(tmp_path, kind=Broken)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000008"]


def test_labels_of_held_out_cases_are_never_read(tmp_path: Path) -> None:
    dataset = Discs()
    with pytest.raises(AssertionError, match="held-out case t/t0"):
        dataset.read(dataset.cases("t")[0])
    fit(
        build(TwoPhases),
        loader(CONFIG, dataset=dataset),
        config=CONFIG,
        folder=tmp_path,
        seed=0,
        unlabeled=target_loader(CONFIG, dataset=dataset),
    )
    assert {key[0] for key in dataset.images_read} == {"a", "b", "t"}


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    run(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(tmp_path, listener=seen.append, validate=lambda o: 0.5)
    assert [p.step for p in seen if p.what == "training"] == list(range(1, 13))
    assert [p.step for p in seen if p.what == "validating"] == [5, 10, 12]
    assert all(p.steps == 12 and p.seconds_left is not None and p.seconds_left >= 0 for p in seen)
    assert seen[-1].score == 0.5
