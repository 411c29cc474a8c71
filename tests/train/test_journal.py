"""The journal: no step stands twice; TensorBoard always; MLflow when asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unshift.errors import MissingDependency
from unshift.train.journal import FILE, Journal, read_journal

STEP = {"phase": "train", "terms": {"dice": 0.5}, "loss": 0.5, "lr": 0.1, "images_per_second": 3.0}


def test_lines_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.event("step", 1, **STEP)
    journal.event("checkpoint", 1, path="step_000001")
    assert read_journal(tmp_path)[1] == {"event": "checkpoint", "step": 1, "path": "step_000001"}  # before it is closed
    journal.close()
    assert read_journal(tmp_path / "nowhere") == []


def test_a_resumed_journal_forgets_the_steps_that_come_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.event("step", step, **STEP)
    journal.close()
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"event": "step", "st')  # a kill within a write
    journal = Journal(tmp_path, step=3)
    for step in range(4, 8):
        journal.event("step", step, **STEP)
    journal.close()
    assert [entry["step"] for entry in read_journal(tmp_path)] == list(range(1, 8))
    assert sorted(p.name for p in tmp_path.iterdir()) == [FILE, "tensorboard"]


def test_tensorboard_holds_the_numbers(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.event("step", 1, **STEP)
    journal.event("validation", 1, score=0.25, best_step=1)
    journal.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("train/dice")[0].value == 0.5
    assert events.Scalars("train/images_per_second")[0].step == 1
    assert events.Scalars("validation/score")[0].value == 0.25


class Server(ModuleType):
    """Stands for mlflow: the four calls that the journal makes."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[tuple] = []

    def start_run(self, *, run_id: str | None, run_name: str | None) -> SimpleNamespace:
        self.calls.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def log_metrics(self, numbers: dict, *, step: int) -> None:
        self.calls.append(("log", numbers, step))

    def end_run(self) -> None:
        self.calls.append(("end",))


def test_mlflow_gets_numbers_and_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)
    journal = Journal(tmp_path, tracker="mlflow")
    journal.event("validation", 2, score=0.5)
    journal.event("checkpoint", 2, path="x")
    journal.close()
    Journal(tmp_path, step=2, tracker="mlflow").close()
    assert server.calls == [
        ("start", None, tmp_path.name),
        ("log", {"validation/score": 0.5}, 2),
        ("end",),
        ("start", "r1", None),
        ("end",),
    ]
    assert json.loads((tmp_path / "mlflow.json").read_text()) == {"run_id": "r1"}


def test_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependency, match=r"pip install unshift\[mlflow\]"):
        Journal(tmp_path, tracker="mlflow")
