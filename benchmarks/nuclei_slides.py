"""Which images of the nuclei are tiles of one slide: no ids are published, but tiles that adjoin share an edge.

python benchmarks/nuclei_slides.py --data path/to/nuclei --output src/unshift/datasets/nuclei_slides.csv

Two images adjoin where the last column of one and the first of the other (or the last and the first row) correlate more
than any two edges of the same side of that domain do, which cannot adjoin, and by at least 0.9; edges of less contrast
than 4 grey levels tell nothing. Images that adjoin, directly or by others between, are one slide. Tiles of a slide that
do not adjoin are not found. Written are the images that have a neighbor: the first 16 digits of the name, the slide.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse.csgraph import connected_components

LEAST, CONTRAST = 0.9, 4.0


def adjoining(images: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """[image, image] whether the second lies right of or below the first; and the correlation that was required.

    Args:
        images: grey, [height, width] of one size.
    """
    sides = {
        "left": [image[:, 0] for image in images],
        "right": [image[:, -1] for image in images],
        "top": [image[0] for image in images],
        "bottom": [image[-1] for image in images],
    }
    same = max(correlations(sides[side], sides[side]).max() for side in sides)
    required = max(LEAST, float(same))
    found = (correlations(sides["right"], sides["left"]) > required) | (
        correlations(sides["bottom"], sides["top"]) > required
    )
    return found, required


def correlations(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """Of every edge with every other, 0 where one has little contrast and of an image with itself."""
    a, b = (np.asarray(edges, np.float64) for edges in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    deviations = a.std(1)[:, None], b.std(1)[None]
    found = (a @ b.T) / a.shape[1] / np.maximum(deviations[0] * deviations[1], 1e-9)
    found[np.minimum(*deviations) < CONTRAST] = 0
    np.fill_diagonal(found, 0)
    return found


def slides(folder: Path) -> list[tuple[str, str]]:
    """(image, slide) of those images of a domain that have a neighbor."""
    files = sorted((folder / "images").iterdir())
    pictures = [np.asarray(Image.open(file).convert("L"), np.float64) for file in files]
    rows, number = [], 0
    for shape in sorted({picture.shape for picture in pictures}):
        here = [i for i, picture in enumerate(pictures) if picture.shape == shape]
        found, required = adjoining([pictures[i] for i in here])
        _, label = connected_components(found | found.T, directed=False)
        print(f"{folder.name} {shape}: {len(here)} images, {int(found.sum())} pairs above {required:.3f}")
        for group in range(label.max() + 1):
            members = [files[here[i]].stem for i in np.flatnonzero(label == group)]
            if len(members) > 1:
                number += 1
                rows += [(name[:16], f"{folder.name}/slide-{number:02}") for name in members]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = [row for folder in sorted(options.data.iterdir()) if folder.is_dir() for row in slides(folder)]
    with options.output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "slide"), *rows])
    print(f"{len(rows)} images of {len({slide for _, slide in rows})} slides: {options.output}")


if __name__ == "__main__":
    main()
