"""Pictures of a training in progress: what an objective shows of itself, every few hundred steps, in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from unshift.contracts import Objective
from unshift.report.picture import eight_bit
from unshift.train.loader import Loader, UnlabeledLoader
from unshift.train.settings import Progress

EVERY = 250
ROWS = 4


def previewing(
    objective: Objective, loader: Loader, unlabeled: UnlabeledLoader | None, folder: Path
) -> Callable[[Progress], None]:
    """A listener that writes ``previews/step_000250.png`` into the training's folder; without target images, nothing.

    An objective that has something to show has a method ``previews(source images, target images) -> [batch, column,
    channel, height, width]``, images in [0, 1]. It is given the same images each time, those of the first step, and may
    not draw random numbers, so that a training ends with the same weights whether it is looked at or not.
    """
    show = getattr(objective, "previews", None)
    if show is None or unlabeled is None:
        return lambda progress: None
    images: list[Tensor] = []

    def listen(progress: Progress) -> None:
        if progress.what != "training" or (progress.step % EVERY and progress.step != progress.steps):
            return
        if not images:
            images.extend(stream.batch(0).images[:ROWS] for stream in (loader, unlabeled))
        count = min(len(part) for part in images)
        device = next(objective.parameters()).device
        shown = show(*(part[:count].to(device) for part in images)).cpu()
        write_sheet(folder / "previews" / f"step_{progress.step:06d}.png", shown)

    return listen


def write_sheet(path: Path, images: Float[Tensor, "row column channel height width"]) -> None:
    """One PNG of all images in [0, 1], side by side; three channels are color, of others the first is shown."""
    path.parent.mkdir(exist_ok=True)
    rows = [np.concatenate([eight_bit(image.clamp(0, 1).float().numpy()) for image in row], axis=2) for row in images]
    pixels = np.concatenate(rows, axis=1)
    draft = path.with_name(f".{path.name}")
    Image.fromarray(np.moveaxis(pixels, 0, -1) if len(pixels) == 3 else pixels[0]).save(draft, "PNG")
    draft.replace(path)
