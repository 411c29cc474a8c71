"""Content images: photographs from a folder, or made-up textures, as the images of a network.

What style units are trained on beside the source (methods: DINSeg takes 10,000 photographs of MS-COCO). Only ``count``
files are read. Photographs are resized so that they just cover the wanted size, then cropped at random.

Of volumes, each slice is the same picture seen through a window that moves one pixel a slice in a random direction, so
that content varies as smoothly along the depth as within a slice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unshift.discover import load
from unshift.errors import DataError
from unshift.formats import reading
from unshift.geometry import resize_image
from unshift.phantom.texture import texture
from unshift.randomness import derive, numpy_generator
from unshift.sample import Sample

DOMAIN = "content"
_LUMA = (0.299, 0.587, 0.114)
_PERCENTILES = (0.01, 0.99)
_MOST_VALUES = 1_000_000
"""Values that percentiles are taken of, evenly spread: enough for four digits."""
MOST_BYTES = 4 * 2**30
"""Of the content beside a style: 500 volumes of 128³ voxels would just fit. Fewer images do; the log says so."""
logger = logging.getLogger(__name__)


def content_images(
    folder: Path | None, count: int, *, channels: int, size: tuple[int, ...], seed: int, colors: int | None = None
) -> list[Tensor]:
    """``count`` images, float32 [channels, *size] in [0, 1]; the same arguments give the same images.

    Args:
        folder: of photographs, searched in all subfolders; None for made-up textures. Where ``count`` is more than the
            folder holds, photographs come again, cropped elsewhere.
        count: how many.
        channels: of the network's input.
        size: (height, width) or (depth, height, width).
        seed: decides files, crops and textures.
        colors: channels of one slice, which is repeated until ``channels`` are full (neighbouring slices): 3 for
            colour, any other number for grey. Default: 3 of 3 channels, else 1.

    Raises:
        DataError: the folder is missing or holds no photograph; a file cannot be read in full (names it); ``channels``
            is no multiple of ``colors``.
    """
    colors = colors or (3 if channels == 3 else 1)
    if channels % colors:
        raise DataError(f"Content images: {channels} channels are no multiple of {colors} colors. Change one of them.")
    files = None if folder is None else _order(photographs(folder), count, seed)
    images = []
    for index in range(count):
        random = numpy_generator(seed, "content", index)
        step = _step(random, size)
        if files is None:
            canvas = texture(_cover(size, step), seed=derive(seed, "content", "texture", index))
        else:
            canvas = _cropped(reading.read_image(files[index]).array, _cover(size, step), random)
        picture = _colored(canvas, colors).repeat(channels // colors, 1, 1)
        images.append(picture if len(size) == 2 else _moving(picture, size, step))
    return images


def content_samples(
    folder: Path | None, count: int, *, channels: int, size: tuple[int, ...], seed: int, colors: int | None = None
) -> list[Sample]:
    """As :func:`content_images`, as samples without labels of the domain ``content``."""
    images = content_images(folder, count, channels=channels, size=size, seed=seed, colors=colors)
    return [Sample(image, f"{DOMAIN}_{i:05d}", f"{i:05d}", DOMAIN) for i, image in enumerate(images)]


def content_like(
    style: Sequence[Sample], folder: Path | None, count: int, *, seed: int = 0, colors: int | None = None
) -> list[Sample]:
    """Content with the channels, size and intensities of ``style``, images as a network sees them.

    Where style images leave [0, 1] (z-scored, Hounsfield units), 0 and 1 of the content become the 1st and the 99th
    percentile of all style images. Fewer than ``count`` come where they would take more than ``MOST_BYTES`` of memory.

    Raises:
        DataError: no style image, or of several shapes; and as :func:`content_images`.
    """
    shapes = sorted({tuple(sample.image.shape) for sample in style})
    if len(shapes) != 1:
        found = ", ".join("×".join(map(str, shape)) for shape in shapes) or "none"
        raise DataError(f"Style images: shapes are {found}; one is required. Cut them to the network's input.")
    channels, *size = shapes[0]
    fitting = max(1, MOST_BYTES // (4 * style[0].image.numel()))
    if fitting < count:
        logger.warning(
            "Content: %d images of the %d that were asked for; more would not fit in memory.", fitting, count
        )
    samples = content_samples(
        folder, min(count, fitting), channels=channels, size=tuple(size), seed=seed, colors=colors
    )
    low, high = intensity_range(style)
    if (low, high) != (0, 1):
        for sample in samples:
            sample.image.mul_(high - low).add_(low)
    return samples


def intensity_range(style: Sequence[Sample]) -> tuple[float, float]:
    """(0, 1) when all images lie in it, else the 1st and 99th percentile of all their values."""
    if all(float(sample.image.min()) >= 0 and float(sample.image.max()) <= 1 for sample in style):
        return 0.0, 1.0
    step = max(1, sum(sample.image.numel() for sample in style) // _MOST_VALUES)
    values = torch.cat([sample.image.flatten()[::step] for sample in style])
    low, high = torch.quantile(values.double(), torch.tensor(_PERCENTILES, dtype=torch.float64)).tolist()
    return low, high


def photographs(folder: Path) -> list[Path]:
    """All photographs in a folder and its subfolders, in order; hidden files are none.

    Raises:
        DataError: the folder is missing or holds no photograph.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; one with photographs is required. Leave it out to use textures.")
    suffixes = load("formats", "photo").suffixes
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder}: holds no photograph; files ending in {', '.join(sorted(suffixes))} are required.")
    return found


def _order(files: list[Path], count: int, seed: int) -> list[Path]:
    """``count`` files in random order; each comes once before one comes twice."""
    rounds = [
        numpy_generator(seed, "content", "order", n).permutation(len(files)) for n in range(-(-count // len(files)))
    ]
    return [files[index] for index in np.concatenate(rounds)[:count]] if rounds else []


def _step(random: np.random.Generator, size: tuple[int, ...]) -> tuple[float, float]:
    """How far the window moves from slice to slice of a volume: one pixel in a random direction."""
    angle = random.uniform(0, 2 * np.pi)
    return (np.sin(angle), np.cos(angle)) if len(size) == 3 else (0.0, 0.0)


def _cover(size: tuple[int, ...], step: tuple[float, float]) -> tuple[int, int]:
    """Height and width that hold all windows."""
    slices = size[0] if len(size) == 3 else 1
    height, width = (n + round(abs(s) * (slices - 1)) for n, s in zip(size[-2:], step, strict=True))
    return height, width


def _moving(picture: Tensor, size: tuple[int, ...], step: tuple[float, float]) -> Float[Tensor, "channel *size"]:
    depth, height, width = size
    slices = []
    for index in range(depth):
        top, left = (round(abs(s) * (index if s >= 0 else depth - 1 - index)) for s in step)
        slices.append(picture[:, top : top + height, left : left + width])
    return torch.stack(slices, dim=1)


def _cropped(photograph: Tensor, size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """The photograph resized so that it just covers ``size``, then a crop at a random place."""
    height, width = photograph.shape[1:]
    scale = max(size[0] / height, size[1] / width)
    covered = tuple(max(n, round(scale * m)) for n, m in zip(size, (height, width), strict=True))
    resized = resize_image(photograph, covered).clamp(0, 1)
    top, left = (int(random.integers(m - n + 1)) for m, n in zip(covered, size, strict=True))
    return resized[:, top : top + size[0], left : left + size[1]]


def _colored(picture: Tensor, colors: int) -> Tensor:
    """A grey or colour picture as one of ``colors`` channels: 3 are colour, other numbers repeat the grey."""
    if colors == 3:
        return picture.expand(3, -1, -1)
    grey = picture if len(picture) == 1 else torch.tensordot(picture.new_tensor(_LUMA), picture, dims=1)[None]
    return grey.expand(colors, -1, -1)
