"""Random convolution: every image through a filter of its own, drawn anew each time; shapes stay and textures do not.

Xu, Liu, Yang, Raffel, Niethammer, "Robust and Generalizable Visual Representation Learning via Random Convolutions"
(ICLR 2021, arXiv 2007.13003). With side k drawn from {1, 3, 5, 7} and C channels::

    x' = w * x      w [C, C, k, k],  every entry normal with variance 1 / (C k²)
    mixing:  x'' = a x + (1 - a) x',  a uniform in [0, 1)

Setting: generalization, one or more source domains; supervision is that of ``augmented``, in whose list it stands.
``probability: 0`` gives every image back bit for bit.

Differences from the paper:

* the consistency of three views (weight 10) is left out: this is an augmentation, not a loss. ``cqg`` ties two views.
* one filter for each image; the authors draw one for each batch.
* intensities are taken from [0, 1] to [-1, 1] and back, where the authors' images are standardized before; what lies
  beyond the edge is middle grey (0 there), as in their zero padding.
* volumes [batch, channel, depth, height, width] are filtered in plane, all slices by one filter.

As in the paper, results are not clipped: their range is about [-1, 2], and wider at times. An augmentation that wants
images in [0, 1] stands before this one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from unshift import config
from unshift.augmentations.drawing import coin, uniform
from unshift.contracts import Augmentation


class Config(config.Config):
    """Which filters, how often, and whether the original shines through."""

    probability: float = Field(0.5, ge=0, le=1, description="of a filter; other images stay as they are")
    sides: tuple[int, ...] = Field((1, 3, 5, 7), min_length=1, description="of the filter, in pixels; each as likely")
    mixing: bool = Field(False, description="add the original with a random share")

    @field_validator("sides")
    @classmethod
    def _odd(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < 1 or side % 2 == 0 for side in sides):
            raise ValueError(f"sides are {list(sides)}; odd numbers from 1 are required")
        return sides


class RandomConvolution(Augmentation):
    """Parameters: ``filtered`` (bool), ``kernel`` (all of the greatest side, zeros around), ``share``."""

    Config = Config

    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """One filter per image.

        Returns:
            bool [batch] ``filtered``; float32 [batch, channel, channel, side, side] ``kernel`` (output, input channel);
            float32 [batch] ``share`` of the original, 0 without mixing.
        """
        c, (count, channels), most = self.config, images.shape[:2], max(self.config.sides)
        filtered = coin(generator, count, c.probability)
        side = torch.tensor(c.sides)[torch.randint(len(c.sides), (count,), generator=generator)]
        kernel = torch.randn((count, channels, channels, most, most), generator=generator)
        distance = (torch.arange(most) - most // 2).abs()
        inside = distance <= (side // 2)[:, None]
        kernel *= (inside[:, :, None] & inside[:, None])[:, None, None]
        kernel /= (channels * side.square()).sqrt().view(-1, 1, 1, 1, 1)
        share = uniform(generator, (count,), 0, 1).float() * c.mixing
        return {"filtered": filtered, "kernel": kernel, "share": share}

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Images in [0, 1] -> any range; images without a filter come back bit for bit."""
        at = parameters["filtered"].nonzero()[:, 0]
        if not len(at):
            return images.clone()
        p = {name: value[at].to(images.device) for name, value in parameters.items()}
        at = at.to(images.device)
        centered = 2 * images[at] - 1
        share = p["share"].view(-1, *(1,) * (images.ndim - 1))
        mixed = share * centered + (1 - share) * _convolved(centered, p["kernel"])
        return images.index_copy(0, at, (mixed + 1) / 2)


def _convolved(images: Tensor, kernels: Float[Tensor, "batch channel channel side side"]) -> Tensor:
    """Every image by its own kernel, in plane, zeros beyond the edge."""
    count, channels, side = kernels.shape[0], kernels.shape[1], kernels.shape[-1]
    planes = images.reshape(count, channels, -1, *images.shape[-2:]).movedim(2, 0)
    together = planes.reshape(len(planes), count * channels, *images.shape[-2:])
    found = F.conv2d(together, kernels.flatten(0, 1), padding=side // 2, groups=count)
    return found.view_as(planes).movedim(0, 2).reshape(images.shape)


MEMBER = RandomConvolution
