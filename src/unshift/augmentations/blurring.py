"""Gaussian blur of a deviation of each image's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unshift.augmentations.drawing import per_image


def blurred(
    images: Float[Tensor, "batch channel *space"], deviations: Float[Tensor, "batch"], *, radius: int
) -> Float[Tensor, "batch channel *space"]:
    """In plane, edge pixels repeated: shifted sums, on a CPU faster than convolutions.

    Args:
        images: any intensities; every slice of a volume by itself.
        deviations: in pixels; below 0.001 they count as 0.001, which leaves the image.
        radius: of the filter, in pixels; the same for all images.
    """
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / deviations.clamp_min(1e-3)[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    planes = images.flatten(1, -3)
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (radius,) * 4, mode="replicate")
    rows, total = torch.zeros_like(padded[..., :width]), torch.zeros_like(planes)
    for place in range(len(offsets)):
        rows += per_image(weights[:, place], planes) * padded[..., place : place + width]
    for place in range(len(offsets)):
        total += per_image(weights[:, place], planes) * rows[..., place : place + height, :]
    return total.view_as(images)
