"""The drawing of the contact sheet: head, domain labels, example cells, histograms. Nothing is read here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from scipy.ndimage import binary_erosion

from unshift.audit.distribution import Distribution
from unshift.sample import Case, Sample, Task

OUTLINES = ("#56B4E9", "#E69F00", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
"""Okabe and Ito's colors, the lightest first: outlines lie on images."""
_CHANNELS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7")
_INK, _FAINT = "#222222", "#666666"
_CELL, _LABEL, _HISTOGRAM, _HEAD, _FOOT = 1.75, 1.5, 2.5, 0.85, 0.3
"""Inches: side of a cell, width of the domain's label and of its histogram, height of head and foot."""
_DPI = 150
_THIN = 7.0
"""Pixels of the sheet: a structure less wide than this is filled, because its outline would hide it."""


@dataclass(frozen=True)
class Row:
    """One domain: its cases, its examples (a sample, or the reason why there is none), and its histogram."""

    domain: str
    cases: Sequence[Case]
    examples: Sequence[tuple[Case, Sample | str]]
    distribution: Distribution


@dataclass(frozen=True)
class Plane:
    """What is drawn of a sample.

    Args:
        picture: [height, width] or [height, width, 3] in [0, 1].
        label_map: [height, width], or None.
        aspect: height of a pixel over its width.
        place: the slice in words, empty for a picture.
    """

    picture: np.ndarray
    label_map: np.ndarray | None
    aspect: float
    place: str


def draw(title: str, rows: Sequence[Row], task: Task) -> Figure:
    """The contact sheet as a figure with an Agg canvas, 150 dots per inch, high enough for all rows."""
    columns = max(2, *(len(row.examples) for row in rows)) if rows else 2
    width, height = _LABEL + columns * _CELL + _HISTOGRAM, _HEAD + len(rows) * _CELL + _FOOT
    figure = Figure(figsize=(width, height), facecolor="white", dpi=_DPI)
    FigureCanvasAgg(figure)
    _head(figure, title, rows, task)
    grid = GridSpec(
        max(1, len(rows)),
        columns + 2,
        figure=figure,
        width_ratios=[_LABEL, *[_CELL] * columns, _HISTOGRAM],
        left=0.01,
        right=1 - 0.15 / width,
        top=1 - _HEAD / height,
        bottom=_FOOT / height,
        wspace=0.06,
        hspace=0.2,
    )
    for number, row in enumerate(rows):
        _label(figure.add_subplot(grid[number, 0]), row)
        for column, (case, sample) in enumerate(row.examples, start=1):
            axes = figure.add_subplot(grid[number, column])
            if isinstance(sample, str):
                _reason(axes, case, sample)
            else:
                _case(axes, case, plane(sample))
        shared = len({tuple(r.distribution.edges) for r in rows}) == 1
        _histogram(figure.add_subplot(grid[number, -1]), row.distribution, number=number, shared=shared)
    return figure


def plane(sample: Sample) -> Plane:
    """The picture, or a volume's slice with the most foreground (the middle one without labels).

    Grey and color in [0, 1] are shown as they are; other units from their 1st to their 99th percentile. Of images that
    are neither grey nor color the first channel is shown.
    """
    image, label_map, spacing, place = sample.image, sample.label_map, sample.spacing, ""
    if image.ndim == 4:
        depth = image.shape[1]
        index = depth // 2 if label_map is None else int((label_map > 0).flatten(1).sum(dim=1).argmax())
        image, place = image[:, index], f"  slice {index + 1}/{depth}"
        label_map = None if label_map is None else label_map[index]
    picture = image.permute(1, 2, 0).numpy() if image.shape[0] == 3 else image[0].numpy()
    if picture.min() < 0 or picture.max() > 1:
        low, high = np.percentile(picture, (1, 99))
        picture = np.clip((picture - low) / max(float(high - low), 1e-6), 0, 1)
    aspect = spacing[-2] / spacing[-1] if spacing is not None else 1.0
    return Plane(picture, None if label_map is None else label_map.numpy(), aspect, place)


def is_thin(mask: np.ndarray) -> bool:
    """Whether ``mask`` is a net of lines (vessels) that outlines would bury at the size of a cell.

    The mean width of its parts is twice the area over the length of the border, in pixels of the sheet; the border of a
    net is longer than that of the cell.
    """
    border = int((mask & ~binary_erosion(mask)).sum())
    scale = _CELL * _DPI / max(mask.shape)
    return bool(scale * border > 4 * _CELL * _DPI and 2 * scale * mask.sum() < _THIN * border)


def _head(figure: Figure, title: str, rows: Sequence[Row], task: Task) -> None:
    height, width = figure.get_figheight(), figure.get_figwidth()
    cases = sum(len(row.cases) for row in rows)
    text = f"{title}: {_count(len(rows), 'domain')}, {_count(cases, 'case')}"
    figure.text(0.12 / width, 1 - 0.22 / height, text, fontsize=12, fontweight="bold", color=_INK, va="center")
    names = [name.replace("_", " ") for name in task.classes[1:]]
    handles = [Line2D([], [], color=_color(i), lw=3, label=name) for i, name in enumerate(names, start=1)]
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(0.12 / width, 1 - 0.48 / height),
        ncols=max(1, int(width // 1.6)),
        frameon=False,
        fontsize=9,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.4,
    )


def _label(axes: Axes, row: Row) -> None:
    axes.axis("off")
    patients = len({case.patient for case in row.cases})
    counts = f"{_count(len(row.cases), 'case')}\n"
    counts += "each its own patient" if patients == len(row.cases) > 1 else _count(patients, "patient")
    name = textwrap.fill(row.domain, 16)
    place: dict[str, Any] = {"transform": axes.transAxes}
    axes.text(0.07, 0.56, name, fontsize=10, fontweight="bold", color=_INK, va="bottom", **place)
    axes.text(0.07, 0.52, counts, fontsize=8, color=_FAINT, va="top", linespacing=1.5, **place)


def _bare(axes: Axes, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize=6.5, color=_FAINT, pad=2)


def _case(axes: Axes, case: Case, shown: Plane) -> None:
    labels = shown.label_map
    is_empty = labels is not None and not labels.any()
    _bare(axes, _short(case.name) + shown.place + ("  (empty)" if is_empty else ""))
    axes.imshow(shown.picture, cmap="gray", aspect=shown.aspect, vmin=0, vmax=1)
    if labels is None:
        return
    masks = {int(label): labels == label for label in np.unique(labels[labels > 0])}
    for label in sorted(masks, key=lambda label: -_extent(masks[label])):  # what lies inside is drawn last
        (_fill if is_thin(masks[label]) else _outline)(axes, masks[label], _color(label))


def _extent(mask: np.ndarray) -> int:
    """Area of the smallest upright rectangle around ``mask``."""
    return int(np.ptp(np.flatnonzero(mask.any(axis=0))) + 1) * int(np.ptp(np.flatnonzero(mask.any(axis=1))) + 1)


def _outline(axes: Axes, mask: np.ndarray, color: str) -> None:
    """The border of ``mask``, closed where it meets the image's edge, on a dark halo."""
    height, width = mask.shape
    grid = np.arange(-1, width + 1), np.arange(-1, height + 1)
    lines = axes.contour(*grid, np.pad(mask, 1).astype(float), [0.5], colors=[color])
    lines.set_linewidth(1.1)
    lines.set_path_effects([Stroke(linewidth=2.1, foreground="#00000090"), Normal()])
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _fill(axes: Axes, mask: np.ndarray, color: str) -> None:
    layer = np.zeros((*mask.shape, 4))
    layer[mask] = to_rgba(color, 0.75)
    axes.imshow(layer, aspect=axes.get_aspect(), interpolation="nearest")


def _reason(axes: Axes, case: Case, reason: str) -> None:
    _bare(axes, _short(case.name))
    axes.set_facecolor("#F3F3F3")
    text = textwrap.fill(textwrap.shorten(reason, 170, placeholder=" …"), 26)
    axes.text(0.5, 0.5, text, fontsize=6, color="#A03000", ha="center", va="center", transform=axes.transAxes)


def _histogram(axes: Axes, shown: Distribution, *, number: int, shared: bool) -> None:
    centers = (shown.edges[:-1] + shown.edges[1:]) / 2
    channels = len(shown.shares)
    names = ("R", "G", "B") if channels == 3 else tuple(f"channel {i}" for i in range(channels))
    for channel, shares in enumerate(shown.shares):
        color = _CHANNELS[channel % len(_CHANNELS)] if channels > 1 else _FAINT
        axes.fill_between(centers, shares, color=color, alpha=0.15 if channels > 1 else 0.4, lw=0)
        axes.plot(centers, shares, color=color, lw=1.2, label=names[channel])
    top = _top(shown.shares)
    axes.set_ylim(0, top)
    axes.set_xlim(shown.edges[0], shown.edges[-1])
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(axis="x", labelsize=6.5, colors=_FAINT, length=2, pad=1)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
    _mark_cut(axes, shown, top)
    kind = {1: "intensity", 3: "color"}.get(channels, "channels")
    scale = "" if shared else ", own scale"
    axes.set_title(f"{kind}: mean of {_count(shown.images, 'image')}{scale}", fontsize=6.5, color=_FAINT, pad=2)
    if channels > 1 and number == 0:
        axes.legend(fontsize=6.5, frameon=False, loc="upper right", handlelength=1.2)


def _mark_cut(axes: Axes, shown: Distribution, top: float) -> None:
    """Write the share of a bin that is cut off beside it."""
    shares = shown.shares.mean(axis=0)
    cut = int(shares.argmax())
    if shares[cut] > top:
        is_left = cut < len(shares) // 2
        place = (shown.edges[cut + 1] if is_left else shown.edges[cut], top * 0.92)
        text = f" ← {100 * shares[cut]:.0f} %" if is_left else f"{100 * shares[cut]:.0f} % → "
        axes.text(*place, text, fontsize=6.5, color=_INK, ha="left" if is_left else "right", va="center")


def _top(shares: np.ndarray) -> float:
    """The axis' upper end: the highest bin, unless it stands far above the third highest of its channel."""
    ordered = np.sort(shares, axis=1)
    return 1.08 * float(np.minimum(ordered[:, -1], 2.5 * ordered[:, -3]).max()) or 1.0


def _color(label: int) -> str:
    return OUTLINES[(label - 1) % len(OUTLINES)]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
