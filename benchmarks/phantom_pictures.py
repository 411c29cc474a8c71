"""Draw the pictures of docs/how-to/phantom.md: ``python benchmarks/phantom_pictures.py [FOLDER]``.

One sheet a world: a row is a domain, a column a patient, the last column shows the label map's outlines. One more sheet
for the ultrasound knobs: each at strength 0, 1/2 and 1, alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from unshift.datasets.phantom import Config, Phantom
from unshift.sample import Sample

COLORS = ("#ffb000", "#00c2c7", "#fe6100", "#785ef0")
LEVELS = {"ct": (-160.0, 300.0)}
KNOBS = (
    "gain",
    "dynamic_range",
    "tgc",
    "attenuation",
    "speckle_size",
    "defocus",
    "blur",
    "shadow",
    "reverberation",
    "noise",
    "sector",
)


def shown(sample: Sample) -> np.ndarray:
    """A picture as matplotlib wants it: one slice of a volume, levels set, channels last."""
    image = sample.image.numpy()
    if image.ndim == 4:
        image = image[:, 12]
    if image.shape[0] == 1:
        low, high = LEVELS.get(sample.domain, (0.0, max(1.0, float(np.quantile(image, 0.995)))))
        return np.clip((image[0] - low) / (high - low), 0, 1)
    return image.transpose(1, 2, 0)


def panel(axes: plt.Axes, sample: Sample, *, labels: np.ndarray | None = None) -> None:
    axes.imshow(shown(sample), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if labels is not None:
        labels = labels[12] if labels.ndim == 3 else labels
        for label in range(1, int(labels.max()) + 1):
            axes.contour(labels == label, levels=[0.5], colors=COLORS[label - 1], linewidths=1.4)


def world_sheet(world: str, folder: Path, *, columns: int = 6) -> Path:
    size = None if world == "organs" else 192
    dataset = Phantom(Config(world=world, size=size, cases=columns, frames=1, paired=True, seed=1))
    figure, grid = plt.subplots(
        len(dataset.domains), columns, figsize=(1.6 * columns, 1.6 * len(dataset.domains)), squeeze=False
    )
    for row, domain in zip(grid, dataset.domains, strict=True):
        for i, (axes, case) in enumerate(zip(row, dataset.cases(domain), strict=True)):
            labels = dataset.read_label_map(case).numpy() if i == columns - 1 else None
            panel(axes, dataset.read_image(case), labels=labels)
        row[0].set_ylabel(domain, fontsize=11)
    return saved(figure, folder / f"phantom_{world}.png")


def knob_sheet(folder: Path) -> Path:
    dataset = Phantom(Config(world="ultrasound", size=192, cases=1, seed=5))
    case = dataset.cases("A")[0]
    figure, grid = plt.subplots(3, len(KNOBS), figsize=(1.35 * len(KNOBS), 4.3))
    for column, name in zip(grid.T, KNOBS, strict=True):
        for axes, strength in zip(column, (0.0, 0.5, 1.0), strict=True):
            panel(axes, dataset.twin(case, f"A+{name}@{strength}"))
        column[0].set_title(name, fontsize=9)
    for row, strength in zip(grid, ("@0", "@0.5", "@1"), strict=True):
        row[0].set_ylabel(strength, fontsize=10)
    return saved(figure, folder / "phantom_knobs.png", top=0.93)


def saved(figure: plt.Figure, path: Path, *, top: float = 0.996) -> Path:
    figure.subplots_adjust(left=0.04, right=0.998, bottom=0.004, top=top, wspace=0.02, hspace=0.02)
    figure.savefig(path, dpi=72)
    plt.close(figure)
    return path


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for world in ("ultrasound", "endoscopy", "fundus", "organs"):
        print(world_sheet(world, folder))
    print(knob_sheet(folder))


if __name__ == "__main__":
    main()
