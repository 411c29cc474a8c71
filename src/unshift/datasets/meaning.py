"""What stored numbers mean to a task: stored values -> labels, a file's channels -> the task's channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift.errors import DataError, ShapeMismatch
from unshift.sample import Task

_LUMINANCE = (0.299, 0.587, 0.114)
_SHOWN = 10


class OtherChannels(DataError):
    """An image has other channels than the task, and is not converted. ``stored`` is their number."""

    stored: int = 0


class LabelsOutsideTask(DataError):
    """A label map holds values that the task has no meaning for."""


def to_labels(
    stored: Int[Tensor, "*space"], task: Task, *, values: Mapping[int, int] | None, path: Path
) -> Int[Tensor, "*space"]:
    """Labels 0 … num_classes - 1 from the values as stored.

    ``values`` maps stored value -> label; 0 is background unless it says otherwise. Without it, the values of a task of
    two classes are {0, 1} or {0, 255} (but not both in one file), and those of any other task are the labels.

    Raises:
        LabelsOutsideTask: names the file, the values found and the values required.
    """
    found = torch.unique(stored).tolist()
    table = _table(found, task, values)
    wrong = [value for value in found if value not in table]
    if wrong:
        required = "{0, 1} or {0, 255}" if values is None and task.num_classes == 2 else _braces(sorted(table))
        shown = ", ".join(map(str, wrong[:_SHOWN])) + (", …" if len(wrong) > _SHOWN else "")
        raise LabelsOutsideTask(
            f"{path}: holds {len(wrong)} value(s) outside the task ({shown}), of {len(found)} found; required are "
            f"{required} for the classes {', '.join(task.classes)}. Correct the mask (was it saved with loss?), "
            "or declare its `values` in the dataset's settings."
        )
    if all(table[value] == value for value in found):
        return stored
    labels = torch.zeros_like(stored)
    for value in found:
        labels[stored == value] = table[value]
    return labels


def _table(found: list[int], task: Task, values: Mapping[int, int] | None) -> dict[int, int]:
    if values is not None:
        return {0: 0, **values}
    if task.num_classes == 2 and 255 in found:
        return {0: 0, 255: 1}
    return {label: label for label in range(task.num_classes)}


def to_channels(image: Float[Tensor, "stored *space"], channels: int, *, path: Path) -> Float[Tensor, "channel *space"]:
    """The image with the task's number of channels.

    Grey becomes colour by repeating it; colour becomes grey by its luminance, 0.299 R + 0.587 G + 0.114 B (ITU-R
    BT.601, as Pillow does).

    Raises:
        DataError: any other pair of numbers; which channel is which would be a guess.
    """
    stored = image.shape[0]
    if stored == channels:
        return image
    if (stored, channels) == (1, 3):
        return image.expand(3, *image.shape[1:]).contiguous()
    if (stored, channels) == (3, 1):
        weights = image.new_tensor(_LUMINANCE).view(3, *[1] * (image.ndim - 1))
        return (image * weights).sum(dim=0, keepdim=True)
    error = OtherChannels(
        f"{path}: has {stored} channel(s); the task has {channels}, and only grey and colour are converted into each "
        "other. Set `channels` to the file's number, or convert the file."
    )
    error.stored = stored
    raise error


def check_same_grid(image: torch.Size, labels: torch.Size, *, image_path: Path, label_path: Path, what: str) -> None:
    """Raise :class:`ShapeMismatch` that names both files unless the two sizes are equal."""
    if image != labels:
        raise ShapeMismatch(
            f"{label_path}: {what} is {times(labels)} but image {image_path} is {times(image)}; both must share one "
            f"grid. Resample the {what} with order 0."
        )


def times(shape: torch.Size | tuple[int, ...]) -> str:
    """Sizes as text: ``24×320×320``."""
    return "×".join(str(n) for n in shape)


def _braces(values: list[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
