"""Draw the contact sheet of docs/how-to/quality-shifts.md: ``python benchmarks/quality_pictures.py [FOLDER]``.

Every quality shift (a row) at levels 1 to 5 (columns), beside the picture that it begins with: a generated throat as
the phantom's camera ``clinic`` shows it, pixel for pixel. Saved as JPEG, so that it stays under 400 KB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unshift.datasets.phantom import Config, Phantom
from unshift.phantom.quality import LEVELS, QUALITY, degrade

SIDE, GAP, LEFT, TOP = 128, 3, 130, 22
INK = (30, 30, 30)


def pixels(image: Tensor) -> Image.Image:
    return Image.fromarray((255 * image.numpy()).round().astype(np.uint8).transpose(1, 2, 0))


def sheet(*, seed: int) -> Image.Image:
    phantom = Phantom(Config(world="endoscopy", size=SIDE, cases=1, domains=("clinic",), seed=seed))
    sample = phantom.read_image(phantom.cases("clinic")[0])
    step = SIDE + GAP
    canvas = Image.new("RGB", (LEFT + step * (1 + len(LEVELS)), TOP + step * len(QUALITY)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for column, title in enumerate(("original", *(f"@{level}" for level in LEVELS))):
        pen.text((LEFT + column * step + SIDE // 2, TOP // 2), title, fill=INK, font=font, anchor="mm")
    for row, name in enumerate(QUALITY):
        y = TOP + row * step
        pen.text((LEFT - 8, y + SIDE // 2), name, fill=INK, font=font, anchor="rm")
        for column, level in enumerate((0, *LEVELS)):
            image = degrade(sample.image, f"{name}@{level}", seed=seed, field_of_view=sample.field_of_view)
            canvas.paste(pixels(image), (LEFT + column * step, y))
    return canvas


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "quality_shifts.jpg"
    sheet(seed=1).save(path, quality=84, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
