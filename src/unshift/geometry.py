"""Between a sample's own grid and the network's input: sizes, slices, neighbour stacks.

Training cuts with these functions and prediction undoes them, so that the two cannot disagree.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import model_validator
from torch import Tensor

from unshift.config import Config


class InputConfig(Config):
    """What the network sees of a sample.

    ``resize``: the whole image (or slice, or volume), resampled to ``size``. ``window``: patches of ``size`` in
    training, sliding windows in prediction, at the sample's own resolution. A 2-element size on a volume means slices;
    ``neighbours`` slices on each side are stacked as channels.
    """

    mode: Literal["resize", "window"] = "resize"
    size: tuple[int, int] | tuple[int, int, int] = (256, 256)
    neighbours: int = 0

    @model_validator(mode="after")
    def _check(self) -> InputConfig:
        if min(self.size) < 1:
            raise ValueError(f"input size is {self.size}; every entry must be at least 1")
        if self.neighbours < 0:
            raise ValueError(f"neighbours is {self.neighbours}; it must be 0 or more")
        if self.neighbours and len(self.size) == 3:
            raise ValueError("neighbours are for 2-D networks on volumes; a 3-D size needs neighbours: 0")
        return self


def network_channels(channels: int, config: InputConfig) -> int:
    """Channels that the network sees: each neighbour adds the image's channels once more on either side."""
    return channels * (2 * config.neighbours + 1)


def stack(
    volume: Float[Tensor, "channel depth height width"], index: int, neighbours: int
) -> Float[Tensor, "stacked height width"]:
    """Slice ``index`` with ``neighbours`` on each side as channels, the edge slice repeated beyond the ends."""
    wanted = torch.arange(index - neighbours, index + neighbours + 1).clamp(0, volume.shape[1] - 1)
    return volume[:, wanted].transpose(0, 1).flatten(0, 1)


def as_slices(
    images: Float[Tensor, "batch stacked *space"], channels: int
) -> Float[Tensor, "batch channel *slices_and_space"]:
    """Batches of :func:`stack`: [batch, slice x channel, height, width] -> [batch, channel, slice, height, width].

    Neighbouring slices are one volume to an augmentation: with one draw, and not as three colors. Images without
    neighbours, and volumes, come back as they are.

    Args:
        images: what a network sees.
        channels: of one slice.
    """
    if images.ndim == 4 and images.shape[1] > channels:
        return images.unflatten(1, (-1, channels)).transpose(1, 2)
    return images


def as_channels(
    slices: Float[Tensor, "batch channel slice height width"],
) -> Float[Tensor, "batch stacked height width"]:
    """The inverse of :func:`as_slices` where it changed the shape."""
    return slices.transpose(1, 2).flatten(1, 2)


def resize_image(image: Float[Tensor, "channel *space"], size: tuple[int, ...]) -> Float[Tensor, "channel *resized"]:
    """Linear resampling with antialiasing in 2-D; align_corners is false throughout."""
    if tuple(image.shape[1:]) == tuple(size):
        return image
    flat = image.ndim == 3
    mode = "bilinear" if flat else "trilinear"
    return F.interpolate(image[None], size=size, mode=mode, align_corners=False, antialias=flat)[0]


def resize_label_map(label_map: Int[Tensor, "*space"], size: tuple[int, ...]) -> Int[Tensor, "*resized"]:
    """Nearest neighbour at pixel centres; no label is invented."""
    if tuple(label_map.shape) == tuple(size):
        return label_map
    resized = F.interpolate(label_map[None, None].float(), size=size, mode="nearest-exact")
    return resized[0, 0].to(label_map.dtype)
