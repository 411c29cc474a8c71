"""Random amplitude mixup of RAM-DSIR: low frequencies' amplitudes moved towards an image of another source domain.

Zhou, Qi, Shi, "Generalizable Medical Image Segmentation via Random Amplitude Mixup and Domain-Specific Image
Restoration", ECCV 2022. For an image and its partner with amplitudes A and B, channel by channel, inside the centered
square of half-width ⌊0.1 · min(height, width)⌋::

    A' = r A + (1 - r) B        r from {0.1, 0.2, …, 1}, one an image; phases, and all other frequencies, stay

then clipped to the range of intensities. One image in ten draws r = 1 and comes back as it was. Differences from the
authors' code:

* the partner is an image of the same batch, drawn from another domain in it, and as augmented as its batch is; theirs
  is any image of another domain's training list, not augmented. A held-out domain is in no batch and cannot be one.
* intensities are not scaled to 0 … 255 and rounded on the way.
* only the window's coefficients are computed (:mod:`unshift.augmentations.spectrum`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations.drawing import per_image, uniform
from unshift.augmentations.intensities import counted_as_unit, require_unit
from unshift.augmentations.partners import MixingAugmentation, draw_partners
from unshift.augmentations.spectrum import low_window, mix_amplitude


class Config(config.Config):
    """The window, the share, who is a partner.

    ``intensities``: ``unit``, images must be in [0, 1], and results are clipped to it; ``image``, for z-scored slices
    and arbitrary MR units: each image counts from its own darkest value (an amplitude knows no sign: a mean of -1 would
    be as bright as one of 1), darkest values are mixed too, and results are clipped to what image and partner span.
    """

    window: float = Field(0.1, ge=0, le=0.5, description="half-width as a share of the shorter side; 0: the mean alone")
    share: Literal["grid", "continuous"] = Field("grid", description="of own amplitude: 0.1, 0.2 … 1, or all of [0, 1)")
    partner: Literal["other_domain", "any_domain"] = "other_domain"
    transform: Literal["plane", "volume"] = Field(
        "plane", description="volume: three axes at once, with a window of the same share of the slices"
    )
    intensities: Literal["unit", "image"] = "unit"


class AmplitudeMix(MixingAugmentation):
    """Parameters: ``partner`` (int64, a row of the batch) and ``share`` (float32) of own amplitude, one an image.

    :meth:`draw` takes the images' domains as a third argument, which is what a :class:`MixingAugmentation` is:
    objectives give it those of the batch. Without them any other image of the batch may be the partner.
    """

    Config = Config

    def draw(
        self,
        generator: torch.Generator,
        images: Float[Tensor, "batch channel *space"],
        domains: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """One partner and one share an image.

        Raises:
            ProtocolError: the batch holds one domain only.
        """
        count = len(images)
        partner = draw_partners(generator, count, domains, own=self.config.partner == "any_domain")
        share = uniform(generator, (count,), 0, 1)
        if self.config.share == "grid":
            share = (10 * share).floor().add(1) / 10
        return {"partner": partner, "share": share.float()}

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Mixed and clipped; images whose share is 1 come back bit for bit.

        Raises:
            DataError: ``intensities`` is ``unit`` and the images are not in [0, 1] (or within 0.05 of it).
        """
        share, partner = (parameters[name].to(images.device) for name in ("share", "partner"))
        half_width, is_kept = self.half_width(images.shape[2:]), share == 1
        if self.config.intensities == "unit":
            require_unit(images, who="Augmentation amplitude_mix", remedy="(preprocessing), or set intensities: image")
            mixed = mix_amplitude(images, partner, share, half_width=half_width).clamp_(0, 1)
        else:
            own = per_image(share, images)
            low, span = counted_as_unit(images, "image", who="Augmentation amplitude_mix")
            mixed = mix_amplitude(images - low, partner, share, half_width=half_width)
            mixed += own * low + (1 - own) * low[partner]
            mixed.clamp_(torch.minimum(low, low[partner]), torch.maximum(low + span, (low + span)[partner]))
        mixed[is_kept] = images[is_kept]  # one image in ten; torch.where would write all of them once more
        return mixed

    def half_width(self, space: Sequence[int]) -> tuple[int, ...]:
        """Of the window, on each axis that is transformed."""
        plane = low_window(space, self.config.window)
        is_volume = self.config.transform == "volume" and len(space) == 3
        return (int(self.config.window * space[0]), *plane) if is_volume else plane


MEMBER = AmplitudeMix
