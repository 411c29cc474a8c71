"""Location-scale views of SLAug: intensities bent by a curve, scaled and shifted, of the whole image or class by class.

Su, Yao, Yang, Huang, Wang, Sun, "Rethinking Data Augmentation for Single-Source Domain Generalization in Medical Image
Segmentation" (AAAI 2023, arXiv 2211.14805). For a region (the image, or the pixels of one class) with intensities in
[low, high], a random curve B from low to high (:mod:`bezier`), and P the percentiles of B(x)::

    x' = clip( a B(x) + b, 0, 1 )    a ~ N(1, 0.1) in [0.9, 1.1]    b ~ N(0, 0.5) in [-P20, 1 - P80]

Curves rise for the image; class by class, that of the background falls and those of the others do every second time,
and pixels at most 0.01 stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift.augmentations.bezier import look_up, tables
from unshift.augmentations.drawing import coin, uniform

DARK = 0.01
"""Intensities up to this stay as they are where classes are recolored."""
_SLIDE = 0.2


def draw_global(generator: torch.Generator, count: int) -> dict[str, Tensor]:
    """One rising curve, scale and location per image; see :func:`draw_local`."""
    return _draw(generator, count, torch.zeros(count, dtype=torch.bool))


def draw_local(generator: torch.Generator, count: int, classes: int) -> dict[str, Tensor]:
    """A curve, scale and location for every class of every image, image by image.

    Returns:
        float32 ``first``, ``second`` [count * classes, 2]; ``scale``, ``location`` [count * classes]; bool ``falling``.
    """
    falling = coin(generator, count * classes, 0.5)
    falling[::classes] = True
    return _draw(generator, count * classes, falling)


def global_view(
    images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
) -> Float[Tensor, "batch channel *space"]:
    """Each image as one region. Images in [0, 1] -> [0, 1]."""
    return _recolored(images, torch.zeros_like(images[:, :1], dtype=torch.int64), parameters, classes=1)


def local_view(
    images: Float[Tensor, "batch channel *space"],
    label_maps: Int[Tensor, "batch *space"],
    parameters: Mapping[str, Tensor],
    *,
    classes: int,
) -> Float[Tensor, "batch channel *space"]:
    """Each class of each image as a region of its own. Images in [0, 1] -> [0, 1].

    A pixel whose brightest channel is at most :data:`DARK` stays as it is.
    """
    result = _recolored(images, label_maps[:, None], parameters, classes=classes)
    return torch.where(images.amax(1, keepdim=True) <= DARK, images, result)


def _draw(generator: torch.Generator, count: int, falling: Tensor) -> dict[str, Tensor]:
    points = uniform(generator, (2, count, 2), 0, 1).float()
    noise = torch.randn((2, count), generator=generator)
    scale, location = (1 + 0.1 * noise[0]).clamp(0.9, 1.1), 0.5 * noise[1]
    return {"first": points[0], "second": points[1], "falling": falling, "scale": scale, "location": location}


def _recolored(images: Tensor, labels: Tensor, parameters: Mapping[str, Tensor], *, classes: int) -> Tensor:
    """Every region through its curve, then scaled and shifted; ``labels`` broadcast over the channels."""
    p = {name: value.to(images.device) for name, value in parameters.items()}
    regions = torch.arange(len(images), device=images.device).view(-1, *(1,) * (images.ndim - 1)) * classes + labels
    regions = regions.expand_as(images).flatten()
    low, high = _extremes(images.flatten(), regions, len(images) * classes)
    span = torch.where(high > low, high - low, 1.0)
    values = (images.flatten() - low[regions]) / span[regions]
    values = look_up(values, tables(p["first"], p["second"], p["falling"]), regions) * span[regions] + low[regions]
    least, most = _percentiles(values, regions, len(low))
    location = torch.minimum(torch.maximum(p["location"], -least), 1 - most)
    return (values * p["scale"][regions] + location[regions]).clamp(0, 1).view_as(images)


def _extremes(values: Tensor, regions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    low = values.new_zeros(count).scatter_reduce(0, regions, values, "amin", include_self=False)
    high = values.new_zeros(count).scatter_reduce(0, regions, values, "amax", include_self=False)
    return low, high


def _percentiles(values: Tensor, regions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The 20th and 80th of every region, linear between ranks; 0 for an empty one."""
    sizes = torch.bincount(regions, minlength=count)
    apart = 4.0 * torch.arange(count, device=values.device, dtype=torch.float64)  # values are near [0, 1]
    ranked = (apart[regions] + values).sort().values - apart.repeat_interleave(sizes)
    begin = sizes.cumsum(0) - sizes
    found = []
    for share in (_SLIDE, 1 - _SLIDE):
        place = share * (sizes - 1).clamp_min(0).to(torch.float64)
        below = (begin + place.floor().long()).clamp_max(len(values) - 1)
        above = (begin + place.ceil().long()).clamp_max(len(values) - 1)
        value = ranked[below] + (place - place.floor()) * (ranked[above] - ranked[below])
        found.append(torch.where(sizes > 0, value, 0.0).to(values.dtype))
    return found[0], found[1]
