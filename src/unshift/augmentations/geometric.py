"""Geometric list of DCIN-CQG: flip, shear, shift-scale-rotate and elastic deformation, interpolated once.

The list of the colour-quality paper's code (Albumentations 1.4.21; see methods 3.4), equal in distribution except:

* shear, shift-scale-rotate and elastic maps are composed and the image is interpolated *once*, where the authors
  interpolate (and round to 8 bits) after each; flips are exact.
* everything beyond the image's edge is 0 and background; the authors' elastic step reflects there (about a pixel wide).
* the elastic field is smoothed on a grid of every second pixel (at sigma 5) and interpolated: its deviation,
  alpha / sqrt(12 pi) / sigma pixels, is at most 2 % smaller.
* shear draws an angle for x and one for y, as Albumentations does when it is given a range.

Lengths (``sigma``, elastic displacements) are in pixels of the network's input, as in the authors' code, where that
was 768 x 512. Volumes [batch, channel, depth, height, width] are moved in plane: every slice by the same draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from unshift import config
from unshift.augmentations.drawing import coin, uniform
from unshift.contracts import Augmentation


class Config(config.Config):
    """Probabilities per image, and ranges; each range is symmetric about "no change"."""

    flip_probability: float = Field(0.5, ge=0, le=1, description="left-right flip")
    shear_probability: float = Field(0.5, ge=0, le=1)
    shear: float = Field(20.0, ge=0, lt=45, description="degrees, along x and along y")
    affine_probability: float = Field(0.5, ge=0, le=1, description="shift, scale and rotation together")
    shift: float = Field(0.0625, ge=0, description="share of width and of height")
    scale: float = Field(0.5, ge=0, lt=1, description="factor 1 - scale … 1 + scale")
    rotate: float = Field(20.0, ge=0, description="degrees")
    elastic_probability: float = Field(0.5, ge=0, le=1)
    elastic_alpha: float = Field(35.0, ge=0, description="pixels, before smoothing")
    elastic_sigma: float = Field(5.0, gt=0, description="pixels")
    elastic_affine: float = Field(1.05, ge=0, description="pixels by which three reference points move")


class Geometric(Augmentation):
    """Parameters: ``flip`` and ``warp`` (bool), ``matrix`` (output -> input pixel, from the centre), ``field``."""

    Config = Config

    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """One draw per image.

        Returns:
            ``flip``, ``warp``: bool [batch]; ``matrix``: float32 [batch, 2, 3], centred pixel coordinates (x, y) of the
            output -> of the input; ``field``: float32 [batch, 2, rows, columns], elastic displacement in pixels on the
            coarse grid, 0 where an image has none.
        """
        c, count, (height, width) = self.config, images.shape[0], images.shape[-2:]
        flip = coin(generator, count, c.flip_probability)
        sheared = coin(generator, count, c.shear_probability)
        moved = coin(generator, count, c.affine_probability)
        bent = coin(generator, count, c.elastic_probability)
        matrix = _select(bent, _three_points(generator, count, (height, width), c.elastic_affine))
        matrix = matrix @ _select(moved, _shift_scale_rotate(generator, count, (height, width), c))
        matrix = matrix @ _select(sheared, _shear(generator, count, c.shear))
        field = torch.zeros(count, 2, *_coarse((height, width), c.elastic_sigma))
        if bent.any():
            field[bent] = _smooth_noise(generator, int(bent.sum()), (height, width), c)
        return {
            "flip": flip,
            "warp": sheared | moved | bent,
            "matrix": torch.linalg.inv(matrix)[:, :2].float(),
            "field": field,
        }

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Bilinear, 0 beyond the edge; images that drew nothing come back bit for bit. Any intensities."""
        planes = images.flatten(1, -3)
        return _move(planes, parameters, mode="bilinear").view_as(images)

    def apply_label_maps(
        self, label_maps: Int[Tensor, "batch *space"], parameters: Mapping[str, Tensor]
    ) -> Int[Tensor, "batch *space"]:
        """Nearest neighbour on the images' own grid, background (0) beyond the edge."""
        planes = label_maps.view(label_maps.shape[0], -1, *label_maps.shape[-2:])
        moved = _move(planes.float(), parameters, mode="nearest")
        return moved.to(label_maps.dtype).view_as(label_maps)


def _move(planes: Float[Tensor, "batch plane height width"], parameters: Mapping[str, Tensor], *, mode: str) -> Tensor:
    device = planes.device
    flip = parameters["flip"].to(device)[:, None, None, None]
    result = torch.where(flip, planes.flip(-1), planes)
    indices = parameters["warp"].nonzero()[:, 0]
    if not len(indices):
        return result
    grid = _grid(parameters["matrix"][indices].to(device), parameters["field"][indices].to(device), planes.shape[-2:])
    indices = indices.to(device)
    result[indices] = F.grid_sample(result[indices], grid, mode=mode, padding_mode="zeros", align_corners=False)
    return result


def _grid(matrix: Tensor, field: Tensor, space: torch.Size) -> Float[Tensor, "batch height width 2"]:
    """Where each output pixel comes from, in grid_sample's units (edges of the image at -1 and 1)."""
    height, width = space
    x = torch.arange(width, device=field.device) - (width - 1) / 2
    y = torch.arange(height, device=field.device) - (height - 1) / 2
    bend = F.interpolate(field, size=(height, width), mode="bilinear", align_corners=False)
    x, y = x + bend[:, 0], y[:, None] + bend[:, 1]
    (a, b, right), (c, d, down) = matrix[..., None, None].permute(1, 2, 0, 3, 4)
    return torch.stack([(a * x + b * y + right) * (2 / width), (c * x + d * y + down) * (2 / height)], dim=-1)


def _select(flags: Tensor, matrices: Tensor) -> Tensor:
    return torch.where(flags[:, None, None], matrices, torch.eye(3, dtype=matrices.dtype))


def _identity(count: int) -> Tensor:
    return torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)


def _shear(generator: torch.Generator, count: int, limit: float) -> Tensor:
    tangents = torch.tan(torch.deg2rad(uniform(generator, (2, count), -limit, limit)))
    matrix = _identity(count)
    matrix[:, 0, 1], matrix[:, 1, 0] = tangents
    return matrix


def _shift_scale_rotate(generator: torch.Generator, count: int, space: tuple[int, int], c: Config) -> Tensor:
    angle = torch.deg2rad(uniform(generator, (count,), -c.rotate, c.rotate))
    scale = uniform(generator, (count,), 1 - c.scale, 1 + c.scale)
    matrix = _identity(count)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * angle.cos()
    matrix[:, 0, 1], matrix[:, 1, 0] = scale * angle.sin(), -scale * angle.sin()
    matrix[:, 0, 2] = space[1] * uniform(generator, (count,), -c.shift, c.shift)
    matrix[:, 1, 2] = space[0] * uniform(generator, (count,), -c.shift, c.shift)
    return matrix


def _three_points(generator: torch.Generator, count: int, space: tuple[int, int], limit: float) -> Tensor:
    """The affine map that moves three corners of a central square, each coordinate by up to ``limit`` pixels."""
    side = max(min(space) // 3, 1)
    first, second, third = uniform(generator, (3, count, 2), -limit, limit)  # of (s, s), (s, -s), (-s, -s)
    matrix = _identity(count)
    matrix[:, :2, 0] += (second - third) / (2 * side)
    matrix[:, :2, 1] += (first - second) / (2 * side)
    matrix[:, :2, 2] = (first + third) / 2
    return matrix


def _stride(sigma: float) -> int:
    """Coarsest grid on which a Gaussian of ``sigma`` pixels is still sampled at 2.5 points per sigma."""
    return max(1, math.floor(sigma / 2.5))


def _coarse(space: tuple[int, int], sigma: float) -> tuple[int, int]:
    return tuple(-(-n // _stride(sigma)) for n in space)  # type: ignore[return-value]


def _smooth_noise(
    generator: torch.Generator, count: int, space: tuple[int, int], c: Config
) -> Float[Tensor, "count 2 rows columns"]:
    """Alpha x (uniform noise in [-1, 1] smoothed by a Gaussian), independent in x and y.

    On a grid coarser by ``stride``, smoothing averages stride^2 fewer numbers: dividing by ``stride`` gives the
    deviation back.
    """
    stride, (rows, columns) = _stride(c.elastic_sigma), _coarse(space, c.elastic_sigma)
    noise = 2 * torch.rand(count, 2, rows, columns, generator=generator) - 1
    down, across = _gaussian(rows, c.elastic_sigma / stride), _gaussian(columns, c.elastic_sigma / stride)
    return (c.elastic_alpha / stride) * (down @ noise @ across.T)


@lru_cache(maxsize=16)
def _gaussian(length: int, sigma: float) -> Float[Tensor, "length length"]:
    """Gaussian smoothing along one axis, reflected at the ends, as a matrix."""
    return torch.from_numpy(ndimage.gaussian_filter1d(np.eye(length, dtype=np.float32), sigma, axis=0, mode="reflect"))


MEMBER = Geometric
