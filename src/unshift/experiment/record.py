"""What a run folder records before the first step: recipe, environment, code version, data hashes, splits.

Layout::

    runs/
      trainings/<key>/       shared by all runs: a training is stored under the hash of what determines it
      <name>/
        recipe.yaml          resolved, every default written out
        run.json             command, code version, environment, dataset folder
        trainings.json       which stored training each pipeline used
        journals/            copies of the journals of those trainings
        previews/            copies of the last pictures that those trainings showed of themselves, if any
        data.json            SHA-256 of every case's files
        split.json           which case is in which part of which fold
        predictions/<fold>/<seed>/<pipeline>/<domain>/<case>.png | .nii.gz
        references/<fold>/<seed>/<pipeline>.csv   which references each case's views had, if any
        parts/<key>.parquet  scores of one pipeline on one fold with one seed
        scores.parquet       all of them
        tables/  report.html
        bundles/<fold>/<seed>/<pipeline>/   what `unshift predict` takes
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from unshift import __version__
from unshift.config import read_yaml, to_plain, to_yaml
from unshift.contracts import Dataset
from unshift.errors import ConfigError, DataError
from unshift.evaluate.protocol import Fold
from unshift.experiment.events import Listener, silence
from unshift.recipe import Recipe, parse_recipe
from unshift.train.devices import Devices
from unshift.train.settings import BYSTANDERS

_SHOWN = 3
_WIDTH = 60
_PACKAGES = ("torch", "numpy", "monai", "kornia", "lightning-fabric", "scipy", "scikit-image", "nibabel", "pydicom")


def code_version() -> str:
    """The package's version, with the commit when it runs from a git checkout."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return __version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{__version__}+{found.stdout.strip()}" if found.returncode == 0 else __version__


def environment() -> dict[str, str]:
    """Machine, operating system and the versions of what the numbers depend on."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "accelerators": ", ".join(devices) or "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        **packages,
    }


@dataclass(frozen=True)
class Run:
    """A run in progress: what it does, on what, where it writes, who listens."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    hashes: Mapping[str, str]
    devices: Devices = field(default_factory=Devices)
    listener: Listener = silence

    @property
    def store(self) -> Path:
        """Where trainings lie that all runs share."""
        return self.folder.parent / "trainings"

    def note_training(self, pipeline: str, fold: Fold, seed: int, key: str) -> None:
        """Write down which stored training a pipeline used, and keep a copy of its journal and its last pictures."""
        if not is_first_process():
            return
        journal = self.journal_of(pipeline, fold, seed)
        journal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.store / key / "journal.jsonl", journal)
        for sheet in sorted((self.store / key / "previews").glob("*.png"))[-1:]:
            shown = self.preview_of(pipeline, fold, seed)
            shown.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sheet, shown)
        path = self.folder / "trainings.json"
        noted = read_json(path) if path.exists() else {}
        write_json(path, {**noted, f"{fold.name}/{seed}/{pipeline}": key})

    def journal_of(self, pipeline: str, fold: Fold, seed: int) -> Path:
        """The run's own copy of a training's journal, so that a run folder can be moved."""
        return self.folder / "journals" / fold.name / str(seed) / f"{pipeline}.jsonl"

    def preview_of(self, pipeline: str, fold: Fold, seed: int) -> Path:
        """The run's own copy of the last pictures that a training showed of itself, if it showed any."""
        return self.folder / "previews" / fold.name / str(seed) / f"{pipeline}.png"

    def pipelines(self, fold: Fold) -> list[str]:
        """What a fold trains: all pipelines; the baseline alone where it trains on the target, for gap recovery."""
        return [self.recipe.baseline] if fold.kind == "upper_bound" else list(self.recipe.pipelines)


def open_run(
    recipe: Recipe,
    dataset: Dataset,
    runs: Path,
    *,
    devices: Devices | None = None,
    listener: Listener = silence,
    record: bool = True,
) -> Run:
    """Write the record, or check that the folder's is of this recipe and data; with ``record`` false, neither.

    A run that trained and scored nothing yet, as one whose recipe was refused, gives way to another.

    Raises:
        ConfigError: the folder holds a run of another recipe, or cannot be written to.
        DataError: the data has changed since the run began.
    """
    folder = runs / recipe.name
    if any(place.exists() and not place.is_dir() for place in (runs, folder)):
        raise ConfigError(f"{runs}: is a file; --runs names the folder that runs are kept in. Give another.")
    hashes = {case.key: dataset.fingerprint(case) for domain in dataset.domains for case in dataset.cases(domain)}
    if not record or not is_first_process():
        pass
    elif (folder / "recipe.yaml").exists() and _holds_results(folder):
        _check_same(folder, recipe, hashes)
    else:
        try:
            _write_record(folder, recipe, dataset, hashes)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be written to ({error.strerror or error}); a run needs a folder that can. "
                "Give another --runs, or see to its rights and to free space."
            ) from None
    return Run(recipe, dataset, folder, hashes, devices or Devices(), listener)


def _write_record(folder: Path, recipe: Recipe, dataset: Dataset, hashes: Mapping[str, str]) -> None:
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["unshift", *sys.argv[1:]]),
        "code": code_version(),
        "environment": environment(),
        "root": None if dataset.root is None else str(dataset.root.resolve()),
    }
    (folder / "split.json").unlink(missing_ok=True)  # of a run that came to nothing
    write_json(folder / "run.json", record)
    write_json(folder / "data.json", dict(hashes))
    write_text(folder / "recipe.yaml", to_yaml(recipe))


def read_run(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the record of a run folder.

    Raises:
        ConfigError: the folder is not a run.
    """
    if not (folder / "recipe.yaml").is_file() or not (folder / "run.json").is_file():
        raise ConfigError(
            f"{folder}: not a run folder (no recipe.yaml and run.json). Give the folder that a run printed."
        )
    recipe = parse_recipe(read_yaml(folder / "recipe.yaml"), where=str(folder / "recipe.yaml"))
    return recipe, read_json(folder / "run.json")


def is_first_process() -> bool:
    """Whether this process writes; with DDP the others do not."""
    return not int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name, then rename: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, data: Any) -> None:
    """As :func:`write_text`, indented JSON."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _holds_results(folder: Path) -> bool:
    return (folder / "trainings.json").exists() or any((folder / "parts").glob("*"))


def _check_same(folder: Path, recipe: Recipe, hashes: Mapping[str, str]) -> None:
    differences = list(_differences(_determined(read_run(folder)[0]), _determined(recipe)))
    if differences:
        more = [f"and {len(differences) - _SHOWN} more, see its recipe.yaml"] if len(differences) > _SHOWN else []
        raise ConfigError(
            f"{folder}: holds a run of another recipe ({'; '.join([*differences[:_SHOWN], *more])}). Give the recipe "
            "another name (--set name=…) or another --runs folder, or remove this one: trainings lie beside it, in "
            f"{folder.parent / 'trainings'}, and those that the recipe still asks for are not repeated."
        )
    before = read_json(folder / "data.json")
    changed = sorted(key for key in before.keys() | hashes.keys() if before.get(key) != hashes.get(key))
    if changed and not any((folder / "parts").glob("*")):
        write_json(
            folder / "data.json", dict(hashes)
        )  # nothing was scored on the old state: a repaired file is welcome
    elif changed:
        raise DataError(
            f"{folder}: {len(changed)} case(s) changed since this run began, such as {', '.join(changed[:3])}; "
            "a run sees one state of the data. Restore them, remove this folder, or use another --runs folder."
        )


def _determined(recipe: Recipe) -> Any:
    """A recipe without the settings that a resumed run may change (time limit, reading threads, …)."""
    plain = to_plain(recipe)
    for settings in (plain["train"], *(p["train"] for p in plain["pipelines"].values() if p["train"])):
        for name in BYSTANDERS:
            settings.pop(name)
    return plain


def _differences(there: Any, here: Any, key: str = "") -> Iterator[str]:
    """In words, each key whose value is another one in two recipes, as a recipe writes it (``train.steps``)."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in {**there, **here}:
            place = f"{key}.{name}" if key else name
            if name in there and name in here:
                yield from _differences(there[name], here[name], place)
            else:
                yield f"{place}: {'there alone' if name in there else 'here alone'}"
    elif there != here:
        yield f"{key}: {_shortened(there)} there, {_shortened(here)} here"


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 2]} …"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
