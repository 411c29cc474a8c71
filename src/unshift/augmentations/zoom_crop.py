"""Random zoom crop of RAM-DSIR: height and width enlarged by factors of their own, and a window of the old size cut.

With probability 0.5 both factors are drawn from U(1, 1.5), as the authors do; the window lies anywhere in the
enlarged image. Here image and window are one map that is interpolated once, at places that need not be whole pixels;
the authors enlarge, then cut at whole pixels. Every pixel of the result lies in the image, so that nothing is padded.
Volumes are cut in plane: every slice by the same draw.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations.drawing import coin, uniform
from unshift.contracts import Augmentation


class Config(config.Config):
    """How often, and how far."""

    probability: float = Field(0.5, ge=0, le=1)
    zoom: float = Field(1.5, ge=1, description="largest factor, of height and of width")


class ZoomCrop(Augmentation):
    """Parameters: ``zoomed`` (bool); ``factor`` and ``place`` (0 … 1), float32 [batch, 2], of height and width."""

    Config = Config

    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """One draw per image; ``factor`` is 1 where the image is not zoomed."""
        count = len(images)
        zoomed = coin(generator, count, self.config.probability)
        factor = uniform(generator, (count, 2), 1, self.config.zoom).float()
        place = uniform(generator, (count, 2), 0, 1).float()
        return {"zoomed": zoomed, "factor": torch.where(zoomed[:, None], factor, 1.0), "place": place}

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Bilinear; images that drew nothing come back bit for bit. Any intensities."""
        return _cut(images.flatten(1, -3), parameters, mode="bilinear").view_as(images)

    def apply_label_maps(
        self, label_maps: Int[Tensor, "batch *space"], parameters: Mapping[str, Tensor]
    ) -> Int[Tensor, "batch *space"]:
        """Nearest neighbor on the images' own grid."""
        planes = label_maps.view(label_maps.shape[0], -1, *label_maps.shape[-2:])
        return _cut(planes.float(), parameters, mode="nearest").to(label_maps.dtype).view_as(label_maps)


def _cut(planes: Float[Tensor, "batch plane height width"], parameters: Mapping[str, Tensor], *, mode: str) -> Tensor:
    result, rows = planes.clone(), parameters["zoomed"].nonzero()[:, 0]
    if not len(rows):
        return result
    factor, place = (parameters[name][rows].to(planes.device) for name in ("factor", "place"))
    rows = rows.to(planes.device)
    height, width = planes.shape[-2:]
    ys, xs = (_places(n, factor[:, axis], place[:, axis]) for axis, n in enumerate((height, width)))
    grid = torch.stack([xs[:, None, :].expand(-1, height, -1), ys[:, :, None].expand(-1, -1, width)], dim=-1)
    result[rows] = F.grid_sample(result[rows], grid, mode=mode, padding_mode="border", align_corners=False)
    return result


def _places(size: int, factor: Tensor, place: Tensor) -> Float[Tensor, "row size"]:
    """Where each output pixel comes from, in grid_sample's units (edges of the image at -1 and 1)."""
    center = (2 * torch.arange(size, device=factor.device) + 1) / size - 1
    share = (1 / factor)[:, None]  # of the image that the window sees
    return center * share + (2 * place[:, None] - 1) * (1 - share)


MEMBER = ZoomCrop
