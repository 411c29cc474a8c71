"""Checkpoints: ``checkpoints/step_000100/`` with weights, optimizer state and counters; safetensors and JSON only.

A checkpoint is written under a temporary name, flushed to the disk, and renamed, so that a folder with its final name
is complete. The newest one always carries the optimizer's state; older ones that are kept carry weights only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from unshift.contracts import Objective
from unshift.errors import BundleError

_NAME = re.compile(r"step_(\d{6,})")


@dataclass
class State:
    """Counters of a training; with weights and optimizer state, all that decides how it goes on.

    Args:
        step: updates done.
        seconds: spent so far, over all sessions.
        best_step, best_score: of the best validation; higher is better.
        stale: validations since the best one.
        validated_step, score: of the newest validation.
        stopped: why the training is finished, or empty.
        scaler: state of the gradient scaler (float16 only).
    """

    step: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_score: float | None = None
    stale: int = 0
    validated_step: int | None = None
    score: float | None = None
    stopped: str = ""
    scaler: dict[str, Any] | None = None


def save(folder: Path, objective: Objective, optimizers: Mapping[str, Optimizer], state: State) -> Path:
    """Write the checkpoint of ``state.step``; afterwards it is complete on the disk, or not there at all."""
    final = _path(folder, state.step)
    if final.exists():  # the same step has the same weights; only the counters can have moved on
        _write(final / "state.json", json.dumps(asdict(state), indent=1))
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=final.parent))
    save_file(_detached(objective.state_dict()), draft / "weights.safetensors")
    tensors, numbers = _flatten(optimizers)
    save_file(tensors, draft / "optimizer.safetensors", metadata={"numbers": json.dumps(numbers)})
    (draft / "state.json").write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    for file in draft.iterdir():
        _flush(file)
    draft.rename(final)
    _flush(final.parent)
    return final


def restore(folder: Path, objective: Objective, optimizers: Mapping[str, Optimizer], step: int) -> None:
    """Weights, buffers and optimizer state of ``step``, in the memory layout that the parameters have now.

    Raises:
        BundleError: a file is missing or damaged, or belongs to another network or objective.
    """
    load_weights(objective, folder, step)
    file = _path(folder, step) / "optimizer.safetensors"
    tensors = _read(file)
    with safe_open(file, framework="pt") as opened:
        numbers = json.loads(opened.metadata()["numbers"])
    for phase, optimizer in optimizers.items():
        groups = optimizer.state_dict()["param_groups"]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.split("/", 2)
            if owner == phase:
                state.setdefault(int(index), {})[key] = _laid_out(tensor, parameters[int(index)])
        for name, number in numbers.items():
            owner, index, key = name.split("/", 2)
            if owner == phase:
                state.setdefault(int(index), {})[key] = number
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def read_state(folder: Path, step: int) -> State:
    """The counters of a checkpoint.

    Raises:
        BundleError: the file is missing or damaged.
    """
    file = _path(folder, step) / "state.json"
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{file}: cannot be read ({error}). Delete the folder that holds it to train again."
        ) from None


def prune(folder: Path, *, newest: int, best: int | None, keep: Literal["best", "all"]) -> None:
    """Remove what a complete newer checkpoint has made needless, and drafts of killed sessions."""
    for step in steps_kept(folder):
        if step == newest:
            continue
        path = _path(folder, step)
        if step == best or (keep == "all" and read_state(folder, step).validated_step == step):
            (path / "optimizer.safetensors").unlink(missing_ok=True)
        else:
            path.rename(path.with_name(f".removed-{path.name}"))
    for leftover in _root(folder).glob(".*-*"):
        shutil.rmtree(leftover)


def steps_kept(folder: Path) -> list[int]:
    """Steps whose weights are on the disk, in order; empty for a folder that holds no training."""
    if not _root(folder).is_dir():
        return []
    found = (_NAME.fullmatch(path.name) for path in _root(folder).iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def load_weights(objective: Objective, folder: Path, which: Literal["last", "best"] | int) -> None:
    """Put stored weights and buffers into ``objective``.

    Args:
        objective: built as the one that was trained.
        folder: of the training.
        which: the newest weights, those of the best validation, or those after a step.

    Raises:
        BundleError: they are not there or damaged, or belong to another network or objective.
    """
    kept = steps_kept(folder)
    if not kept:
        raise BundleError(f"{folder}: no checkpoint; a training that has begun is required. Train first.")
    step = kept[-1] if which == "last" else read_state(folder, kept[-1]).best_step if which == "best" else which
    if step is None:
        raise BundleError(f"{folder}: no validation was made, so no weights are the best. Load the last ones.")
    if step not in kept:
        raise BundleError(f"{folder}: no weights of step {step}; kept are {kept}. Train with keep: all to keep more.")
    file = _path(folder, step) / "weights.safetensors"
    stored, expected = _read(file), objective.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in stored]
    problems += [f"{name} is unknown" for name in stored if name not in expected]
    problems += [
        f"{name} is {tuple(stored[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in stored and stored[name].shape != expected[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise BundleError(
            f"{file}: {shown}. Build the network and the objective with the settings they were trained with."
        )
    objective.load_state_dict(stored)


def _root(folder: Path) -> Path:
    return folder / "checkpoints"


def _path(folder: Path, step: int) -> Path:
    return _root(folder) / f"step_{step:06d}"


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory: safetensors stores each name by itself."""
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def _flatten(optimizers: Mapping[str, Optimizer]) -> tuple[dict[str, Tensor], dict[str, float | int | bool | None]]:
    """State of every optimizer as ``phase/parameter/name`` -> tensor, and the same for plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float | int | bool | None] = {}
    for phase, optimizer in optimizers.items():
        for index, entries in optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                place = f"{phase}/{index}/{name}"
                if isinstance(value, Tensor):
                    tensors[place] = value
                else:
                    numbers[place] = value
    return _detached(tensors), numbers


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """``tensor`` with the parameter's strides: another layout could round differently in vectorized kernels."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device="cpu").copy_(tensor).detach()


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{file}: cannot be read ({error}). Restore it, or delete the training's folder to train again."
        ) from None


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}")
    draft.write_text(text, encoding="utf-8")
    _flush(draft)
    draft.replace(file)


def _flush(path: Path) -> None:
    """Make the disk hold what the operating system holds; Windows has no such call for folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
