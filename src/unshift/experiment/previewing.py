"""Pictures of a training in progress: what an objective shows of itself, every few hundred steps, in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from unshift.contracts import Objective
from unshift.evaluate.protocol import Fold
from unshift.experiment.record import Run
from unshift.predict.predictor import evaluating
from unshift.report.content import Sheet
from unshift.report.heat import heated
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
    channel, height, width]``, images in [0, 1]. It is given the same images each time, those of the first step, in
    evaluation mode, and may not draw random numbers, so that a training ends with the same weights whether it is looked
    at or not. One that also has ``gaps`` (:mod:`unshift.experiment.watching`) gets two columns more: the gap over the
    source image (translated, if training translates), the last but one, and over the target image, the last.
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
        parts = [part[:count].to(device) for part in images]
        with torch.no_grad(), evaluating(objective):
            shown, gaps = show(*parts).cpu(), getattr(objective, "gaps", lambda *_: None)(*parts)
        names = columns(shown.shape[1], has_gaps=gaps is not None)
        if gaps is not None:
            shown = with_gaps(shown, [gap.cpu() for gap in gaps])
        write_sheet(folder / "previews" / f"step_{progress.step:06d}.png", shown, columns=names)

    return listen


def columns(count: int, *, has_gaps: bool) -> tuple[str, ...]:
    """What stands in the columns of a sheet: first the source, last the target, a translation between them if any."""
    shown = ("source", "translation", "target")[:: 1 if count == 3 else 2]
    return (*shown, *(f"gap over {name}" for name in shown[-2:])) if has_gaps else shown


def with_gaps(
    shown: Float[Tensor, "row column channel height width"], gaps: Sequence[Float[Tensor, "row 1 height width"]]
) -> Float[Tensor, "row more 3 height width"]:
    """The columns, and the last two once more with their gaps drawn over them."""
    kept = shown if shown.shape[2] == 3 else shown[:, :, :1].expand(-1, -1, 3, -1, -1)
    drawn = []
    for column, gap in zip(shown.unbind(1)[-2:], gaps, strict=True):
        pictures = [heated(i.clamp(0, 1).float().numpy(), g[0].numpy()) for i, g in zip(column, gap, strict=True)]
        drawn.append(torch.from_numpy(np.stack(pictures)) / 255)
    return torch.cat([kept, torch.stack(drawn, dim=1)], dim=1)


def write_sheet(
    path: Path, images: Float[Tensor, "row column channel height width"], *, columns: Sequence[str] = ()
) -> None:
    """One PNG of all images in [0, 1], side by side; three channels are color, of others the first is shown.

    The names of the columns stand in the file, as the PNG's text ``columns``, one a line.
    """
    path.parent.mkdir(exist_ok=True)
    rows = [np.concatenate([eight_bit(image.clamp(0, 1).float().numpy()) for image in row], axis=2) for row in images]
    pixels = np.concatenate(rows, axis=1)
    draft = path.with_name(f".{path.name}")
    text = PngInfo()
    text.add_text("columns", "\n".join(columns))
    Image.fromarray(np.moveaxis(pixels, 0, -1) if len(pixels) == 3 else pixels[0]).save(draft, "PNG", pnginfo=text)
    draft.replace(path)


def sheets(run: Run, plan: Sequence[Fold]) -> Iterator[Sheet]:
    """The last sheet of every training that left one, of the first seed."""
    for fold in (fold for fold in plan if fold.kind == "held_out"):
        for pipeline in run.recipe.pipelines:
            path = run.preview_of(pipeline, fold, run.recipe.seeds[0])
            if path.is_file():
                with Image.open(path) as opened:
                    names = tuple(str(opened.info.get("columns", "")).splitlines())
                    pixels = np.asarray(opened.convert("RGB"))
                yield Sheet(pipeline, f"{', '.join(fold.sources)} → {', '.join(fold.targets)}", names, pixels)
