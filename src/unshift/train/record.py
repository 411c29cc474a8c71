"""``training.json``: what decides a training, written before its first step and compared when it resumes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unshift.contracts import Objective
from unshift.errors import BundleError, ConfigError
from unshift.train.loader import Loader, UnlabeledLoader
from unshift.train.precision import Decision
from unshift.train.settings import BYSTANDERS, TrainConfig

_FILE = "training.json"


def describe(
    objective: Objective, loader: Loader, unlabeled: UnlabeledLoader | None, *, config: TrainConfig, seed: int
) -> dict[str, Any]:
    """Everything that decides the weights after a step, as plain data: settings, data, network, seed."""
    kind = type(objective)
    shapes = {name: list(tensor.shape) for name, tensor in objective.state_dict().items()}
    described = {
        "config": config.model_dump(mode="json", exclude=set(BYSTANDERS)),
        "seed": seed,
        "input": loader.input.model_dump(mode="json"),
        "cases": loader.fingerprints(),
        "unlabeled cases": None if unlabeled is None else unlabeled.fingerprints(),
        "objective": f"{kind.__module__}.{kind.__qualname__}",
        "objective settings": _plain(objective.config),
        "phases": list(objective.phases),
        "weights": shapes,
    }
    return json.loads(json.dumps(described))


def read_record(folder: Path, description: dict[str, Any]) -> Decision | None:
    """The precision that a training in ``folder`` was begun with; None when none was begun.

    Raises:
        ConfigError: it was begun with other settings, data or seed; the message lists what differs.
        BundleError: the file is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        decision = Decision(**stored.pop("precision"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{file}: cannot be read ({error}). Delete the training's folder to train again.") from None
    lines = differences(stored, description)
    if lines:
        raise ConfigError(
            "\n".join([f"{folder}: holds a training that differs from this one.", *(f"  {line}" for line in lines)])
            + "\nTrain in another folder, delete this one, or restore what it was begun with."
        )
    return decision


def write_record(folder: Path, description: dict[str, Any], decision: Decision) -> None:
    """Write ``training.json`` under a temporary name and rename it."""
    draft = folder / f".{_FILE}"
    draft.write_text(json.dumps({**description, "precision": asdict(decision)}, indent=1), encoding="utf-8")
    draft.replace(folder / _FILE)


def differences(stored: Any, found: Any, where: str = "") -> list[str]:
    """One line for each leaf that differs: where it is, what the folder has, what this call has."""
    if isinstance(stored, dict) and isinstance(found, dict):
        keys = [*stored, *(key for key in found if key not in stored)]
        lines = [differences(stored.get(key), found.get(key), f"{where}: {key}" if where else key) for key in keys]
        flat = [line for part in lines for line in part]
        return flat if len(flat) <= 8 or not where else [*flat[:5], f"{where}: {len(flat) - 5} more differences"]
    if stored == found:
        return []
    return [f"{where}: {_word(stored)} in the folder, {_word(found)} now"]


def _word(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)


def _plain(config: Any) -> Any:
    return config.model_dump(mode="json") if hasattr(config, "model_dump") else str(config)
