"""What every way of moving colors promises: statistics of images, and images with the statistics of a reference.

Every method's statistics begin with three numbers that it shares with all others: whether the image is grey, and mean
and deviation of its CIE lightness. Where the image or the reference is grey, only lightness is moved, by these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import DataError, ShapeMismatch
from unshift.normalizations.color_spaces import grey_to_lightness, lab_to_rgb, lightness, lightness_to_grey, rgb_to_lab

SHARED = 3
"""Numbers at the start of all statistics: grey (0 or 1), mean and deviation of lightness."""
_GREY = 1e-4
"""Channels that differ by less, everywhere, are equal: rounding to 16 bits moves a value by 8e-6 at most."""
DEVIATION_FLOOR = 0.01
"""In units of Lab; a constant image has rounding instead of a deviation, and nothing to stretch."""


class ColorMethod(ABC):
    """Batched, on any device, differentiable in the images; nothing is rounded to 8 bits, unless a method says so.

    Images are float [batch, 3 or 1, *space] in [0, 1]. All statistics are taken inside the field of view.
    """

    name: ClassVar[str]
    color_size: ClassVar[int]
    """How many of the numbers are the method's own."""

    @property
    def size(self) -> int:
        """How many float32 numbers are the color statistics of one image."""
        return SHARED + self.color_size

    def statistics(
        self, images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
    ) -> Float[Tensor, "batch size"]:
        """Numbers of every image, of the images' dtype; they hold no pixel and do not depend on the images' size.

        Args:
            inside: the field of view; None when all of every image is valid.

        Raises:
            ShapeMismatch: neither one nor three channels, or a field of view on another grid.
            DataError: the field of view of an image is empty.
        """
        require(images, inside)
        shared = torch.cat([is_grey(images, inside)[:, None].to(images), moments(lightness(images), inside)], dim=1)
        return torch.cat([shared, self.color_statistics(_colored(images), inside)], dim=1)

    def transfer(
        self,
        images: Float[Tensor, "batch channel *space"],
        reference: Float[Tensor, "batch size"],
        inside: Bool[Tensor, "batch *space"] | None = None,
        own: Float[Tensor, "batch size"] | None = None,
    ) -> Float[Tensor, "batch channel *space"]:
        """``images`` with the colors of ``reference``, clipped to [0, 1]; outside the field of view as they were.

        Args:
            reference: statistics, one row per image, or one for all.
            own: statistics of ``images`` where they are known already.

        Raises:
            ShapeMismatch: as for :meth:`statistics`; ``reference`` or ``own`` are not [batch, size].
            DataError: the field of view of an image is empty.
        """
        moved = self.unclipped(images, reference, inside, own).clamp(0, 1)
        return moved if inside is None else torch.where(inside[:, None], moved, images)

    def unclipped(
        self,
        images: Float[Tensor, "batch channel *space"],
        reference: Float[Tensor, "batch size"],
        inside: Bool[Tensor, "batch *space"] | None = None,
        own: Float[Tensor, "batch size"] | None = None,
    ) -> Float[Tensor, "batch channel *space"]:
        """:meth:`transfer` before clipping, moved outside the field of view too: its statistics are the reference's."""
        require(images, inside)
        own = self.statistics(images, inside) if own is None else own
        reference, own = (self._rows(values, images) for values in (reference, own))
        is_light = (own[:, 0] > 0.5) | (reference[:, 0] > 0.5)
        if is_light.all():
            return relight(images, reference, own)
        if not is_light.any():
            return self.move(images, reference[:, SHARED:], own[:, SHARED:], inside)
        result = torch.empty_like(images)
        for which in (is_light, ~is_light):
            part = None if inside is None else inside[which]
            result[which] = self.unclipped(images[which], reference[which], part, own[which])
        return result

    @abstractmethod
    def color_statistics(
        self, images: Float[Tensor, "batch 3 *space"], inside: Bool[Tensor, "batch *space"] | None
    ) -> Float[Tensor, "batch color_size"]:
        """The method's own numbers."""

    @abstractmethod
    def move(
        self,
        images: Float[Tensor, "batch 3 *space"],
        reference: Float[Tensor, "batch color_size"],
        own: Float[Tensor, "batch color_size"],
        inside: Bool[Tensor, "batch *space"] | None,
    ) -> Float[Tensor, "batch 3 *space"]:
        """Color images whose own numbers are those of ``reference``; not clipped."""

    def _rows(self, values: Tensor, images: Tensor) -> Tensor:
        if values.ndim != 2 or values.shape[1] != self.size or values.shape[0] not in (1, len(images)):
            raise ShapeMismatch(
                f"{self.name}: statistics are {list(values.shape)} for {len(images)} image(s); "
                f"[{len(images)}, {self.size}] or [1, {self.size}] is required. Take them with the same method."
            )
        return values.to(images).expand(len(images), -1)


def require(images: Tensor, inside: Tensor | None) -> None:
    """Refuse what is no batch of grey or color images with fields of view on their grid."""
    if images.ndim < 4 or images.shape[1] not in (1, 3):
        raise ShapeMismatch(
            f"images are {list(images.shape)}; [batch, channel, *space] with 1 channel (grey) or 3 (RGB) is required. "
            "Other channels have no color to move."
        )
    if inside is None:
        return
    if inside.shape != (len(images), *images.shape[2:]) or inside.dtype != torch.bool:
        raise ShapeMismatch(
            f"the field of view is {inside.dtype} {list(inside.shape)} and images are {list(images.shape)}; "
            "bool [batch, *space] of the images is required."
        )
    empty = [index for index, mask in enumerate(inside) if not mask.any()]
    if empty:
        raise DataError(
            f"the field of view of image(s) {empty} of the batch is empty; at least one pixel is required. "
            "Correct the mask, or leave it out."
        )


def is_grey(
    images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
) -> Bool[Tensor, " batch"]:
    """Which images have one channel, or three that are equal inside the field of view."""
    if images.shape[1] == 1:
        return torch.ones(len(images), dtype=torch.bool, device=images.device)
    equal = (images.amax(1) - images.amin(1)) < _GREY
    return (equal if inside is None else equal | ~inside).flatten(1).all(1)


def mean_inside(
    values: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch channel"]:
    """The mean of every channel inside the field of view."""
    if inside is None:
        return values.flatten(2).mean(2)
    weights = inside.flatten(1)[:, None]
    return torch.where(weights, values.flatten(2), 0).sum(2) / weights.sum(2)


def moments(
    values: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch twice"]:
    """Means, then deviations (divided by n) of all channels; a constant channel has 1e-6, which has a gradient."""
    mean = mean_inside(values, inside)
    spread = (values - mean.unflatten(1, (-1, *[1] * (values.ndim - 2)))) ** 2
    return torch.cat([mean, mean_inside(spread, inside).clamp_min(1e-12).sqrt()], dim=1)


def stretch(
    values: Float[Tensor, "batch channel *space"],
    reference: Float[Tensor, "batch twice"],
    own: Float[Tensor, "batch twice"],
    floor: float,
) -> Float[Tensor, "batch channel *space"]:
    """(v - mean) / deviation · deviation of the reference + its mean, deviations at least ``floor``."""
    shape = (len(values), -1, *[1] * (values.ndim - 2))
    (mean, deviation), (wanted, wanted_deviation) = own.chunk(2, 1), reference.chunk(2, 1)
    gain = wanted_deviation.clamp_min(floor) / deviation.clamp_min(floor)
    return values * gain.view(shape) + (wanted - gain * mean).view(shape)


def relight(
    images: Float[Tensor, "batch channel *space"],
    reference: Float[Tensor, "batch size"],
    own: Float[Tensor, "batch size"],
) -> Float[Tensor, "batch channel *space"]:
    """Lightness moved, a and b kept; ``reference`` and ``own`` begin with the shared numbers."""
    wanted, found = reference[:, 1:SHARED], own[:, 1:SHARED]
    if images.shape[1] == 1:
        return lightness_to_grey(stretch(grey_to_lightness(images), wanted, found, DEVIATION_FLOOR))
    lab = rgb_to_lab(images)
    return lab_to_rgb(torch.cat([stretch(lab[:, :1], wanted, found, DEVIATION_FLOOR), lab[:, 1:]], dim=1))


def _colored(images: Tensor) -> Tensor:
    return images if images.shape[1] == 3 else images.expand(-1, 3, *images.shape[2:])
