"""BigAug: nine transformations stacked on every image, each with probability one half.

Zhang et al., "Generalizing Deep Learning for Medical Image Segmentation to Unseen Domains via Deep Stacked
Transformation" (IEEE TMI 2020, arXiv 1906.03347). In this order, x in [0, 1] after each step::

    sharpness     x = b + a (b - c),  b blurred by σ in [0.5, 1], c = b blurred by 0.5,  a in [10, 30]
    blur          Gaussian, σ in [0.25, 1.5] pixels
    noise         normal, deviation in [0.1, 1]
    brightness    x + s,  s in [-0.1, 0.1]
    contrast      x^g,  g in [0.5, 4.5]
    perturbation  x (1 + u) + v,  u and v in [-0.1, 0.1]
    rotation      in [-20, 20] degrees        scaling  by [0.4, 1.6]
    deformation   uniform noise of magnitude [0, 1000] smoothed by σ in [10, 13]

Setting: generalization, one source domain; supervision is that of ``augmented``, in whose list it stands.
``probability: 0`` gives every image and label map back bit for bit. No code of the authors is known and the paper's
table could not be read here: these are the ranges that re-implementations quote; those of sharpness, blur and contrast
are also the defaults of MONAI's transforms.

Differences from the paper:

* noise is measured in deviations of each image: the scale of the paper's noise could not be read, and a deviation of 1
  on [0, 1] would leave nothing of the image.
* volumes are filtered and moved in plane, all slices by one draw. The field's deviation is that of the paper's
  volumes, magnitude / √3 / (2 √π σ)^1.5; the same numbers on a plane would tear it. Its σ is in pixels of the input.
* rotation, scaling and deformation are composed and interpolated once; beyond the edge images are black, and labels 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from unshift import config
from unshift.augmentations.blurring import blurred
from unshift.augmentations.drawing import coin, per_image, uniform
from unshift.augmentations.intensities import counted_as_unit
from unshift.contracts import Augmentation

_RADIUS = 5
_STRIDE = 4
"""Of the grid on which the field is drawn."""
_INTENSITY = ("sharpened", "blurred", "noisy", "brightened", "bent", "perturbed")
_SPATIAL = ("rotated", "scaled", "deformed")


class Config(config.Config):
    """The probability of each step, and the ranges.

    ``intensities``: ``unit``, images must be in [0, 1]; ``image``, each image's own range counts as [0, 1] (z-scored
    slices, arbitrary MR units), and is the range that results are clipped to.
    """

    probability: float = Field(0.5, ge=0, le=1, description="of each step, for each image")
    sharpness: tuple[float, float] = (10.0, 30.0)
    blur: tuple[float, float] = Field((0.25, 1.5), description="deviation in pixels")
    noise: tuple[float, float] = Field((0.1, 1.0), description="in deviations of the image")
    brightness: float = Field(0.1, ge=0)
    gamma: tuple[float, float] = (0.5, 4.5)
    perturbation: float = Field(0.1, ge=0, lt=1, description="of scale and of shift")
    rotation: float = Field(20.0, ge=0, description="degrees")
    scaling: tuple[float, float] = (0.4, 1.6)
    deformation: tuple[float, float] = Field((0.0, 1000.0), description="magnitude of the noise, in pixels")
    smoothness: tuple[float, float] = Field((10.0, 13.0), description="of the deformation, deviation in pixels")
    intensities: Literal["unit", "image"] = "unit"

    @model_validator(mode="after")
    def _check(self) -> Config:
        for name in ("sharpness", "blur", "noise", "gamma", "scaling", "deformation", "smoothness"):
            low, high = getattr(self, name)
            least = 0 if name in ("sharpness", "noise", "deformation") else 1e-3
            if not least <= low <= high:
                raise ValueError(f"{name} is {low} … {high}; it must rise from {least} or more")
        return self


class BigAug(Augmentation):
    """Parameters, one entry per image; a flag per step says whether the image drew it."""

    Config = Config

    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """One draw per image.

        Returns:
            bool [batch] for each step; float32 [batch] ``sharpness``, ``detail``, ``blur``, ``brightness``, ``gamma``,
            ``factor``, ``shift``; ``noise`` like ``images`` (0 where not drawn); ``matrix`` [batch, 2, 2], centred
            pixel (x, y) of the output -> of the input; ``field`` [batch, 2, rows, columns], pixels on a coarse grid.
        """
        c, count = self.config, images.shape[0]
        one = lambda low, high: uniform(generator, (count,), low, high).float()  # noqa: E731
        p = {name: coin(generator, count, c.probability) for name in (*_INTENSITY, *_SPATIAL)}
        p |= {"sharpness": one(*c.sharpness), "detail": one(0.5, 1), "blur": one(*c.blur)}
        p |= {"brightness": one(-c.brightness, c.brightness), "gamma": one(*c.gamma)}
        p |= {name: one(-c.perturbation, c.perturbation) for name in ("factor", "shift")}
        deviation = one(*c.noise) * p["noisy"]
        p["noise"] = per_image(deviation, images) * torch.randn(images.shape, generator=generator)
        angle = torch.deg2rad(one(-c.rotation, c.rotation)) * p["rotated"]
        size = torch.where(p["scaled"], one(*c.scaling), 1.0)
        sine, cosine = angle.sin() / size, angle.cos() / size
        p["matrix"] = torch.stack([cosine, sine, -sine, cosine], dim=1).view(count, 2, 2)
        p["field"] = _field(generator, one(*c.deformation) * p["deformed"], one(*c.smoothness), images.shape[-2:])
        return p

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Images in [0, 1] -> [0, 1]; images that drew nothing come back bit for bit.

        Raises:
            DataError: ``intensities`` is ``unit`` and the images are not in [0, 1] (or within 0.05 of it).
        """
        p = {name: value.to(images.device) for name, value in parameters.items()}
        touched = torch.stack([p[name] for name in (*_INTENSITY, *_SPATIAL)]).any(0)
        low, span = counted_as_unit(images, self.config.intensities, who="Augmentation bigaug")
        x = (images - low) / span
        deviation = x.flatten(1).std(1, correction=0)
        _step(x, p["sharpened"], lambda x, at: _sharpened(x, p["detail"][at], p["sharpness"][at]))
        _step(x, p["blurred"], lambda x, at: blurred(x, p["blur"][at], radius=_RADIUS))
        _step(x, p["noisy"], lambda x, at: x + per_image(deviation[at], x) * p["noise"][at])
        _step(x, p["brightened"], lambda x, at: x + per_image(p["brightness"][at], x))
        _step(x, p["bent"], lambda x, at: x ** per_image(p["gamma"][at], x))
        _step(x, p["perturbed"], lambda x, at: x * per_image(1 + p["factor"][at], x) + per_image(p["shift"][at], x))
        moved = _moved(x.flatten(1, -3), p, mode="bilinear").view_as(x)
        return torch.where(per_image(touched, images), moved * span + low, images)

    def apply_label_maps(
        self, label_maps: Int[Tensor, "batch *space"], parameters: Mapping[str, Tensor]
    ) -> Int[Tensor, "batch *space"]:
        """Nearest neighbour on the images' own grid, background (0) beyond the edge."""
        p = {name: value.to(label_maps.device) for name, value in parameters.items()}
        planes = label_maps.view(label_maps.shape[0], -1, *label_maps.shape[-2:]).float()
        return _moved(planes, p, mode="nearest").to(label_maps.dtype).view_as(label_maps)


def _step(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Replace the chosen images by their changed, clipped selves."""
    at = chosen.nonzero()[:, 0]
    if len(at):
        images[at] = change(images[at].clamp(0, 1), at).clamp_(0, 1)


def _sharpened(images: Tensor, deviations: Tensor, alpha: Tensor) -> Tensor:
    smooth = blurred(images, deviations, radius=_RADIUS)
    finest = blurred(smooth, torch.full_like(deviations, 0.5), radius=_RADIUS)
    return smooth + per_image(alpha, images) * (smooth - finest)


def _field(
    generator: torch.Generator, magnitude: Tensor, deviations: Tensor, space: torch.Size
) -> Float[Tensor, "batch 2 rows columns"]:
    """Smoothed normal noise of the deviation that the paper's volumes have, on every fourth pixel."""
    rows, columns = (-(-n // _STRIDE) for n in space)
    noise = torch.randn((len(magnitude), 2, rows, columns), generator=generator)
    grids = [(torch.arange(n)[:, None] - torch.arange(n)).float() * _STRIDE for n in (rows, columns)]
    down, across = (torch.exp(-0.5 * (grid / deviations.view(-1, 1, 1)) ** 2) for grid in grids)
    down, across = (m / m.square().sum(-1, keepdim=True).sqrt() for m in (down, across))  # keeps the variance
    wanted = magnitude / math.sqrt(3) / (2 * math.sqrt(math.pi) * deviations) ** 1.5
    return per_image(wanted, noise) * (down[:, None] @ noise @ across[:, None].mT)


def _moved(planes: Float[Tensor, "batch plane height width"], p: Mapping[str, Tensor], *, mode: str) -> Tensor:
    at = torch.stack([p[name] for name in _SPATIAL]).any(0).nonzero()[:, 0]
    if not len(at):
        return planes
    (height, width), matrix = planes.shape[-2:], p["matrix"][at]
    bend = F.interpolate(p["field"][at], size=(height, width), mode="bilinear", align_corners=False)
    x = torch.arange(width, device=planes.device) - (width - 1) / 2 + bend[:, 0]
    y = (torch.arange(height, device=planes.device) - (height - 1) / 2)[:, None] + bend[:, 1]
    (a, b), (c, d) = matrix[..., None, None].permute(1, 2, 0, 3, 4)
    grid = torch.stack([(a * x + b * y) * (2 / width), (c * x + d * y) * (2 / height)], dim=-1)
    found = F.grid_sample(planes[at], grid, mode=mode, padding_mode="zeros", align_corners=False)
    return planes.index_copy(0, at, found)


MEMBER = BigAug
