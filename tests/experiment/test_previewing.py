from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from experiment_recipes import TINY, tiny
from unshift.experiment.previewing import EVERY, columns, previewing, sheets, write_sheet
from unshift.experiment.run import prepare
from unshift.experiment.training import train
from unshift.sample import UnlabeledBatch
from unshift.train.settings import Progress


class Shows(nn.Module):
    """Its pictures are the source, and the target turned."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def previews(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.stack([source, 1 - target], dim=1)


class Stream:
    """Gives the same batch, and counts."""

    def __init__(self, level: float, count: int) -> None:
        self.images, self.asked = torch.full((count, 1, 4, 6), level), 0

    def batch(self, step: int) -> UnlabeledBatch:
        assert step == 0
        self.asked += 1
        return UnlabeledBatch(self.images, ("a",) * len(self.images), ("1",) * len(self.images))


def at(step: int, what: Any = "training") -> Progress:
    return Progress(step, 2 * EVERY + 10, 0.5, None, what)


def test_sheets_are_written_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    source, target = Stream(0.2, 8), Stream(0.4, 3)
    listen = previewing(Shows(), source, target, tmp_path)  # type: ignore[arg-type]
    for step in (1, EVERY - 1, EVERY, EVERY + 1, 2 * EVERY, 2 * EVERY + 10):
        listen(at(step))
    listen(at(EVERY, "validating"))
    written = sorted(file.name for file in (tmp_path / "previews").iterdir())
    assert written == [f"step_{step:06d}.png" for step in (EVERY, 2 * EVERY, 2 * EVERY + 10)]
    assert source.asked == target.asked == 1
    sheet = np.asarray(Image.open(tmp_path / "previews" / written[0]))
    assert sheet.shape == (3 * 4, 2 * 6)
    assert (sheet[:, :6] == round(0.2 * 255)).all() and (sheet[:, 6:] == round(0.6 * 255)).all()


def test_columns_are_named() -> None:
    assert columns(2, has_gaps=False) == ("source", "target")
    assert columns(2, has_gaps=True) == ("source", "target", "gap over source", "gap over target")
    assert columns(3, has_gaps=False) == ("source", "translation", "target")
    assert columns(3, has_gaps=True)[3:] == ("gap over translation", "gap over target")


def test_nothing_to_show_writes_nothing(tmp_path: Path) -> None:
    stream: Any = Stream(0.2, 2)
    previewing(nn.Linear(1, 1), stream, stream, tmp_path)(at(EVERY))  # type: ignore[arg-type]
    previewing(Shows(), stream, None, tmp_path)(at(EVERY))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [] and stream.asked == 0


def test_colors_are_shown(tmp_path: Path) -> None:
    images = torch.zeros(1, 2, 3, 4, 4)
    images[:, 0, 2] = 1
    write_sheet(tmp_path / "sheet.png", images)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (4, 8, 3) and (sheet[0, 0] == (0, 0, 255)).all() and (sheet[0, 7] == 0).all()


def test_a_training_in_a_run_leaves_translations_in_its_folder(tmp_path: Path) -> None:
    objective = {
        "name": "style_translation",
        "translator": {"width": 4, "blocks": 1, "style_depth": 3},
        "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
    }
    recipe = tiny(
        pipelines={**TINY["pipelines"], "translated": {"objective": objective}},
        train={**TINY["train"], "steps": 2, "validate_every": 2},
    )
    current, plan = prepare(recipe, root=None, runs=tmp_path)
    found = train(current, "translated", plan[0], seed=0)
    sheet = np.asarray(Image.open(found.trained.folder / "previews" / "step_000002.png"))
    assert sheet.shape == (2 * 32, 3 * 32) and sheet[:, 32:64].std() > 0
    (shown,) = sheets(current, plan)
    assert shown.columns == ("source", "translation", "target") and shown.pipeline == "translated"
    assert np.array_equal(shown.pixels[..., 0], sheet) and shown.title == "A → B"
