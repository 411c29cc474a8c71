"""What happened, line by line: ``journal.jsonl``, TensorBoard events, and MLflow when it is asked for."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch.utils.tensorboard import SummaryWriter

from unshift.errors import MissingDependency

FILE = "journal.jsonl"


class Journal:
    """Append-only record of one training, continued after the step of the checkpoint that it resumes from.

    Lines beyond that step were written by a session that was killed; they are removed, because their steps come again.

    Args:
        folder: of the training.
        step: updates done so far.
        tracker: where to send numbers besides.
    """

    def __init__(self, folder: Path, *, step: int = 0, tracker: Literal["mlflow"] | None = None) -> None:
        self._tracker = _MLflow(folder) if tracker == "mlflow" else None
        _truncate(folder / FILE, step)
        self._file = (folder / FILE).open("a", encoding="utf-8")
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1, flush_secs=10)

    def event(self, name: str, step: int, **facts: Any) -> None:
        """Write one line; numbers other than counters of seconds also go to TensorBoard and the tracker.

        Args:
            name: ``step``, ``validation``, ``checkpoint``, ``resume``, ``precision`` or ``stop``.
            step: updates done.
            facts: plain data.
        """
        self._file.write(json.dumps({"event": name, "step": step, **facts}) + "\n")
        self._file.flush()
        numbers = _numbers(name, facts)
        for label, value in numbers.items():
            self._board.add_scalar(label, value, step)
        if self._tracker is not None and numbers:
            self._tracker.log(numbers, step)

    def close(self) -> None:
        """Flush and close everything."""
        self._file.close()
        self._board.close()
        if self._tracker is not None:
            self._tracker.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """All complete lines; empty when there is no journal. A last line that a kill cut short is left out."""
    file = folder / FILE
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _truncate(file: Path, step: int) -> None:
    entries = read_journal(file.parent)
    kept = [entry for entry in entries if entry["step"] <= step]
    draft = file.with_name(f".{file.name}")
    with draft.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(entry) + "\n" for entry in kept)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _numbers(name: str, facts: Mapping[str, Any]) -> dict[str, float]:
    """Label -> number of one event: ``train/dice``, ``validation/score`` and what was measured beside it."""
    if name == "validation":
        return {"validation/score": facts["score"]} | {
            f"validation/{label}": value for label, value in facts.get("measures", {}).items()
        }
    if name != "step":
        return {}
    phase = facts["phase"]
    terms = {f"{phase}/{term}": value for term, value in facts["terms"].items()}
    speed = {f"{phase}/{key}": facts[key] for key in ("loss", "lr", "images_per_second")}
    return terms | speed


class _MLflow:
    """One MLflow run per training; a resumed training goes on in the run it began."""

    def __init__(self, folder: Path) -> None:
        try:
            self._mlflow = importlib.import_module("mlflow")
        except ImportError as error:
            raise MissingDependency(
                f"tracker: mlflow cannot be imported ({error}); it is an optional package. "
                "Run `pip install unshift[mlflow]`."
            ) from None
        memory = folder / "mlflow.json"
        begun = json.loads(memory.read_text(encoding="utf-8"))["run_id"] if memory.exists() else None
        run = self._mlflow.start_run(run_id=begun, run_name=None if begun else folder.name)
        memory.write_text(json.dumps({"run_id": run.info.run_id}), encoding="utf-8")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(numbers), step=step)

    def close(self) -> None:
        self._mlflow.end_run()
