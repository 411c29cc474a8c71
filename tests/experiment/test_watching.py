"""What is watched at validations: means over regions by hand, the same images each time, and nothing that moves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from experiment_recipes import TINY, tiny
from unshift.experiment.previewing import with_gaps
from unshift.experiment.run import prepare
from unshift.experiment.training import train
from unshift.experiment.watching import BACKGROUND, TARGET, watching
from unshift.report.heat import heated
from unshift.sample import Batch, Task, UnlabeledBatch
from unshift.train.journal import read_journal

TASK = Task(
    1, ("background", "rim", "cup", "nowhere"), {"disc": frozenset({1, 2}), "cup": frozenset({2}), "no": frozenset({3})}
)
GLUA: dict[str, Any] = {
    "name": "glua",
    "translation": {
        "name": "style_translation",
        "translator": {"width": 4, "blocks": 1, "style_depth": 3},
        "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
    },
    "ramp": 0,
}
WATCHED = {"baseline": {"objective": GLUA}}


class Knows(nn.Module):
    """Its gap is the image itself, of the target half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def gaps(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return source, target / 2


class Stream:
    """Two batches, of one bright and one dark image; the first shows a cup in a disc."""

    def __init__(self, *, labeled: bool) -> None:
        self.cases, self.config, self.labeled, self.asked = (None,) * 2, SimpleNamespace(batch_size=1), labeled, []

    def batch(self, step: int) -> Any:
        self.asked.append(step)
        images = torch.tensor([[[[1.0, 0.5], [0.25, 0.0]]]]) if step == 0 else torch.full((1, 1, 2, 2), 0.1)
        if not self.labeled:
            return UnlabeledBatch(images, ("t",), ("1",))
        labels = torch.tensor([[[2, 1], [0, 0]]]) if step == 0 else torch.zeros(1, 2, 2, dtype=torch.int64)
        return Batch(images, ("s",), ("1",), label_maps=labels)


def test_means_by_hand() -> None:
    held_out, unlabeled = Stream(labeled=True), Stream(labeled=False)
    watch = watching(Knows(), TASK, held_out, unlabeled)  # type: ignore[arg-type]
    assert watch is not None
    found = watch(Knows())  # type: ignore[arg-type]
    assert found == pytest.approx(
        {
            BACKGROUND: (0.25 + 0.0 + 4 * 0.1) / 6,
            "disc": 0.75,
            "cup": 1.0,
            TARGET: (1.75 + 0.4) / 8 / 2,
        }
    )
    assert watch(Knows()) == found and held_out.asked == unlabeled.asked == [0, 1] * 2  # type: ignore[arg-type]


def test_who_knows_nothing_is_not_watched() -> None:
    streams: Any = (Stream(labeled=True), Stream(labeled=False))
    assert watching(nn.Linear(1, 1), TASK, *streams) is None  # type: ignore[arg-type]
    assert watching(Knows(), TASK, streams[0], None) is None  # type: ignore[arg-type]
    assert watching(Knows(), TASK, None, streams[1]) is None  # type: ignore[arg-type]
    silent: Any = Knows()
    silent.gaps = lambda source, target: None
    watch = watching(silent, TASK, *streams)
    assert watch is not None and watch(silent) == {}


def test_gaps_are_drawn_over_the_last_two_columns() -> None:
    shown, gaps = torch.rand(2, 3, 1, 4, 5), [torch.rand(2, 1, 4, 5), torch.zeros(2, 1, 4, 5)]
    found = with_gaps(shown, gaps)
    assert found.shape == (2, 5, 3, 4, 5) and torch.equal(found[:, :3, 2], shown[:, :, 0])
    expected = heated(shown[1, 1].numpy(), gaps[0][1, 0].numpy())
    assert (np.round(255 * found[1, 3].numpy()) == expected).all()
    assert float((found[:, 4] - shown[:, 2]).abs().max()) <= 0.5 / 255 + 1e-6
    assert with_gaps(torch.rand(2, 2, 3, 4, 5), gaps).shape == (2, 4, 3, 4, 5)


def test_a_training_writes_the_gap_of_each_region_into_its_journal_and_its_pictures(tmp_path: Path) -> None:
    steps = {**TINY["train"], "steps": 2, "validate_every": 1, "workers": 0}
    current, plan = prepare(tiny(pipelines=WATCHED, train=steps), root=None, runs=tmp_path)
    folder = train(current, "baseline", plan[0], seed=0).trained.folder
    measured = [line["measures"] for line in read_journal(folder) if line["event"] == "validation"]
    assert len(measured) == 2 and set(measured[0]) == {BACKGROUND, "head", TARGET}
    assert measured[0] != measured[1] and all(0 <= value <= 1 for row in measured for value in row.values())
    pixels = np.asarray(Image.open(folder / "previews" / "step_000002.png"))
    assert pixels.shape == (2 * 32, 5 * 32, 3)
    assert (pixels[:, :96, 0] == pixels[:, :96, 2]).all() and (pixels[:, 96:, 0] != pixels[:, 96:, 2]).any()


def test_pixels_outside_of_the_field_of_view_do_not_count() -> None:
    class Seen(Stream):
        def batch(self, step: int) -> Any:
            first = torch.tensor([[[True, False], [False, True]]])
            return dataclasses.replace(super().batch(step), fields_of_view=first if step == 0 else ~first)

    watch = watching(Knows(), TASK, Seen(labeled=True), Seen(labeled=False))  # type: ignore[arg-type]
    assert watch is not None
    assert watch(Knows()) == pytest.approx(  # type: ignore[arg-type]
        {BACKGROUND: (0.0 + 2 * 0.1) / 3, "disc": 1.0, "cup": 1.0, TARGET: (1.0 + 0.0 + 2 * 0.1) / 4 / 2}
    )
