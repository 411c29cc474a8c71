"""nnU-Net's ``dataset.json`` as a task, strictly: what we cannot honour is an error, never a guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unshift.errors import DataError
from unshift.sample import Task

_REQUIRED = ("channel_names", "labels", "file_ending")


@dataclass(frozen=True)
class Manifest:
    """What ``dataset.json`` declares.

    Args:
        channels: names in channel order.
        classes: names in label order.
        regions: name -> labels, from labels written as lists; empty when there is none.
        ending: of every image and label file, with its dot.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    regions: Mapping[str, frozenset[int]]
    ending: str

    def task(self, spatial_dims: Literal[2, 3]) -> Task:
        """The task for files with ``spatial_dims`` spatial axes."""
        return Task(len(self.channels), self.classes, self.regions, spatial_dims)


def read_manifest(path: Path) -> Manifest:
    """The content of ``dataset.json``, nnU-Net's second version.

    Region-style labels (``"whole": [1, 2, 3]``) become regions, and their labels get the name of a single-label entry,
    or ``label_N``.

    Raises:
        DataError: missing, not JSON, an older version, an ignore label, a list of files, labels with gaps.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; nnU-Net's raw layout requires it. Write it, or use folder.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); valid JSON is required. Correct it.") from None
    missing = [key for key in _REQUIRED if not isinstance(content, dict) or key not in content]
    if missing:
        old = " It looks like version 1: run nnUNetv2_convert_old_nnUNet_dataset." if "modality" in content else ""
        raise DataError(f"{path}: lacks {', '.join(missing)}; {', '.join(_REQUIRED)} are required. Add them.{old}")
    if "dataset" in content:
        raise DataError(
            f"{path}: lists its files under 'dataset'; only imagesTr and labelsTr are read. Copy them there."
        )
    classes, regions = _classes(path, content["labels"])
    return Manifest(_channels(path, content["channel_names"]), classes, regions, _ending(path, content["file_ending"]))


def _channels(path: Path, names: Any) -> tuple[str, ...]:
    wanted = [str(i) for i in range(len(names))] if isinstance(names, dict) else []
    if not wanted or set(names) != set(wanted):
        raise DataError(f"{path}: channel_names is {names!r}; {{'0': name, '1': name, …}} is required. Correct it.")
    return tuple(str(names[key]) for key in wanted)


def _ending(path: Path, ending: Any) -> str:
    if not isinstance(ending, str) or not ending.startswith("."):
        raise DataError(f"{path}: file_ending is {ending!r}; an ending with its dot is required ('.nii.gz').")
    return ending


def _classes(path: Path, labels: Any) -> tuple[tuple[str, ...], dict[str, frozenset[int]]]:
    sets = {name: _label_set(path, name, value) for name, value in _mapping(path, labels).items()}
    if "ignore" in sets:
        raise DataError(
            f"{path}: declares an ignore label ({sorted(sets['ignore'])}); every voxel is trained on and scored here. "
            "Use fully labeled cases, and remove the ignore label."
        )
    if sets.get("background") != frozenset({0}):
        raise DataError(f"{path}: labels are {labels!r}; 'background': 0 is required. Correct it.")
    present = frozenset().union(*sets.values())
    if present != frozenset(range(len(present))) or len(present) < 2:
        raise DataError(f"{path}: labels use the values {sorted(present)}; 0, 1, 2, … without gaps are required.")
    singles = {next(iter(found)): name for name, found in sets.items() if len(found) == 1}
    classes = tuple(singles.get(label, f"label_{label}") for label in range(len(present)))
    is_regional = any(len(found) > 1 for found in sets.values())
    regions = {name: found for name, found in sets.items() if name != "background"} if is_regional else {}
    return classes, regions


def _mapping(path: Path, labels: Any) -> dict[str, Any]:
    if not isinstance(labels, dict) or all(key.isdigit() for key in labels):
        raise DataError(
            f"{path}: labels is {labels!r}; {{name: value}} is required. If it is version 1, run "
            "nnUNetv2_convert_old_nnUNet_dataset."
        )
    return labels


def _label_set(path: Path, name: str, value: Any) -> frozenset[int]:
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in values):
        raise DataError(f"{path}: label {name!r} is {value!r}; an integer from 0, or a list of them, is required.")
    return frozenset(values)
