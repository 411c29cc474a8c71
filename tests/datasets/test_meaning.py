"""Stored values become labels and channels by stated rules, or an error says what was found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unshift.datasets.meaning import LabelsOutsideTask, check_same_grid, to_channels, to_labels
from unshift.errors import DataError, ShapeMismatch
from unshift.sample import Task

PATH = Path("mask.png")
TWO = Task(1, ("background", "lesion"))
THREE = Task(1, ("background", "cup", "disc"))


def labels(stored: list[int], task: Task = TWO, values: dict[int, int] | None = None) -> list[int]:
    return to_labels(torch.tensor(stored), task, values=values, path=PATH).tolist()


def test_two_classes_are_stored_as_1_or_as_255() -> None:
    assert labels([0, 1, 1]) == [0, 1, 1]
    assert labels([0, 255, 255]) == [0, 1, 1]
    assert labels([255, 255]) == [1, 1]
    assert labels([0, 0]) == [0, 0]


def test_more_classes_are_stored_as_themselves_unless_declared() -> None:
    assert labels([2, 0, 1], THREE) == [2, 0, 1]
    assert labels([0, 128, 255], THREE, {128: 2, 255: 1}) == [0, 2, 1]
    assert labels([255, 0], TWO, {255: 0, 0: 1}) == [0, 1]


@given(st.permutations([0, 1, 2]), st.lists(st.integers(0, 2), min_size=1, max_size=20))
def test_a_swap_of_labels_does_not_chain(table: list[int], stored: list[int]) -> None:
    assert labels(stored, THREE, dict(enumerate(table))) == [table[value] for value in stored]


@pytest.mark.parametrize(
    ("stored", "task", "values", "wrong", "required"),
    [
        ([0, 1, 255], TWO, None, r"1 value\(s\) outside the task \(1\), of 3 found", r"\{0, 1\} or \{0, 255\}"),
        ([0, 3], THREE, None, r"\(3\)", r"\{0, 1, 2\} for the classes background, cup, disc"),
        ([0, -1], TWO, None, r"\(-1\)", "required"),
        ([0, 7], TWO, {255: 1}, r"\(7\)", r"\{0, 255\}"),
        (list(range(200)), TWO, None, r"198 value\(s\).*, …\)", "saved with loss"),
    ],
)
def test_other_values_are_refused(stored, task, values, wrong, required) -> None:
    with pytest.raises(LabelsOutsideTask, match=wrong) as caught:
        labels(stored, task, values)
    assert re.search(required, str(caught.value))
    assert str(caught.value).startswith("mask.png: ")


def test_grey_is_repeated_and_color_weighted_as_pillow_does() -> None:
    color = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pillow = Image.fromarray(color.permute(1, 2, 0).numpy()).convert("L")
    ours = to_channels(color.float() / 255, 1, path=PATH) * 255
    assert torch.allclose(ours[0], torch.from_numpy(np.array(pillow)).float(), atol=1.01)
    grey = torch.rand(1, 4, 4)
    assert torch.equal(to_channels(grey, 3, path=PATH), torch.cat([grey] * 3))
    volume = torch.rand(1, 2, 3, 4)
    assert to_channels(volume, 3, path=PATH).shape == (3, 2, 3, 4)
    assert to_channels(torch.rand(3, 2, 3, 4), 1, path=PATH).shape == (1, 2, 3, 4)
    assert to_channels(grey, 1, path=PATH) is grey


@pytest.mark.parametrize(("stored", "channels"), [(2, 1), (2, 3), (4, 3), (1, 2)])
def test_other_channels_are_refused(stored: int, channels: int) -> None:
    with pytest.raises(DataError, match=rf"mask.png: has {stored} channel\(s\); the task has {channels}"):
        to_channels(torch.rand(stored, 2, 2), channels, path=PATH)


def test_two_grids_must_be_one() -> None:
    same = torch.Size((3, 4))
    check_same_grid(same, same, image_path=PATH, label_path=PATH, what="label map")
    with pytest.raises(ShapeMismatch, match=r"b: label map is 4×3 but image a is 3×4; both must share one grid"):
        check_same_grid(same, torch.Size((4, 3)), image_path=Path("a"), label_path=Path("b"), what="label map")
