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
from unshift.normalizations.color_fast import can_be_fast, moments_of
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

        The method's own numbers are 0 for a grey image: nothing reads them.

        Args:
            inside: the field of view; None when all of every image is valid.

        Raises:
            ShapeMismatch: neither one nor three channels, or a field of view on another grid.
            DataError: the field of view of an image is empty.
        """
        require(images, inside)
        return self._look(_blank(images, inside), inside)[0]

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
        require(images, inside)
        moved = self._apply(_blank(images, inside), reference, inside, own, clip=True)
        return moved if inside is None else torch.where(inside[:, None], moved, images)

    def unclipped(
        self,
        images: Float[Tensor, "batch channel *space"],
        reference: Float[Tensor, "batch size"],
        inside: Bool[Tensor, "batch *space"] | None = None,
        own: Float[Tensor, "batch size"] | None = None,
    ) -> Float[Tensor, "batch channel *space"]:
        """:meth:`transfer` before clipping, with no meaning outside the field of view."""
        require(images, inside)
        return self._apply(_blank(images, inside), reference, inside, own, clip=False)

    def usable(self, statistics: Float[Tensor, "batch size"]) -> Bool[Tensor, " batch"]:
        """Whose numbers can serve as a reference, or be moved; an image whose own cannot is left as it is."""
        return torch.ones(len(statistics), dtype=torch.bool, device=statistics.device)

    def _look(self, images: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Statistics, and the encoded images unless all are grey."""
        grey = is_grey(images, inside)
        encoded = None
        if images.shape[1] == 1:
            light, color = moments(lightness(images), inside), images.new_zeros(len(images), self.color_size)
        else:
            encoded, found = self.look(images, inside)
            light, color = self.light_statistics(images, found, inside), torch.where(grey[:, None], 0, found)
        return torch.cat([grey[:, None].to(images), light, color], dim=1), encoded

    def _apply(
        self, images: Tensor, reference: Tensor, inside: Tensor | None, own: Tensor | None, *, clip: bool
    ) -> Tensor:
        encoded = None
        if own is None:
            own, encoded = self._look(images, inside)
        reference, own = (self._rows(values, images) for values in (reference, own))
        is_light = (own[:, 0] > 0.5) | (reference[:, 0] > 0.5)
        if is_light.all():
            moved = relight(images, reference, own)
            return moved.clamp(0, 1) if clip else moved
        if not is_light.any():
            encoded = self.encode(images) if encoded is None else encoded
            finish = self.finish if clip else self.move
            return finish(encoded, reference[:, SHARED:], own[:, SHARED:], inside)
        result = torch.empty_like(images)
        for which in (is_light, ~is_light):
            part = None if inside is None else inside[which]
            result[which] = self._apply(images[which], reference[which], part, own[which], clip=clip)
        return result

    def encode(self, images: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch 3 *space"]:
        """RGB in the space where the method works, which is RGB itself unless it says otherwise."""
        return images

    def look(
        self, images: Float[Tensor, "batch 3 *space"], inside: Bool[Tensor, "batch *space"] | None
    ) -> tuple[Float[Tensor, "batch 3 *space"], Float[Tensor, "batch color_size"]]:
        """Encoded images and their own numbers; overridden where both come faster together."""
        encoded = self.encode(images)
        return encoded, self.color_statistics(encoded, inside)

    def light_statistics(self, images: Tensor, color: Tensor, inside: Tensor | None) -> Float[Tensor, "batch 2"]:
        """Mean and deviation of CIE lightness; overridden where the method's own numbers ``color`` have them."""
        return moments(lightness(images), inside)

    @abstractmethod
    def color_statistics(
        self, encoded: Float[Tensor, "batch 3 *space"], inside: Bool[Tensor, "batch *space"] | None
    ) -> Float[Tensor, "batch color_size"]:
        """The method's own numbers."""

    @abstractmethod
    def move(
        self,
        encoded: Float[Tensor, "batch 3 *space"],
        reference: Float[Tensor, "batch color_size"],
        own: Float[Tensor, "batch color_size"],
        inside: Bool[Tensor, "batch *space"] | None,
    ) -> Float[Tensor, "batch 3 *space"]:
        """RGB, not clipped, whose own numbers are those of ``reference``."""

    def finish(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """:meth:`move`, clipped; it may write over ``encoded`` where :meth:`encode` made that."""
        return self.move(encoded, reference, own, inside).clamp(0, 1)

    def _rows(self, values: Tensor, images: Tensor) -> Tensor:
        if values.ndim != 2 or values.shape[1] != self.size or values.shape[0] not in (1, len(images)):
            raise ShapeMismatch(
                f"{self.name}: statistics are {list(values.shape)} for {len(images)} image(s); "
                f"[{len(images)}, {self.size}] or [1, {self.size}] is required. Take them with the same method."
            )
        return values.to(images).expand(len(images), -1)


def average(statistics: Float[Tensor, "image size"]) -> Float[Tensor, " size"]:
    """Means over images; where some are in color the result is, and their own numbers are averaged over these alone."""
    colored = statistics[statistics[:, 0] <= 0.5]
    row = statistics.mean(0)
    row[0] = float(len(colored) == 0)
    if len(colored):
        row[SHARED:] = colored[:, SHARED:].mean(0)
    return row


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
    flat = images.detach().flatten(2)
    valid = None if inside is None else inside.flatten(1)
    few = _equal(flat[..., ::64], None if valid is None else valid[:, ::64])  # settles it for nearly every color image
    return few if not few.any() else _equal(flat, valid)


def _equal(flat: Tensor, valid: Tensor | None) -> Tensor:
    equal = (flat.amax(1) - flat.amin(1)) < _GREY
    return (equal if valid is None else equal | ~valid).all(1)


def mean_inside(
    values: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch channel"]:
    """The mean of every channel inside the field of view; values outside must be finite."""
    if inside is None:
        return values.flatten(2).mean(2)
    weights = inside.flatten(1).to(values)
    return (values.flatten(2) @ weights[..., None]).squeeze(2) / weights.sum(1, keepdim=True)


def moments(
    values: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch twice"]:
    """Means, then deviations (divided by n) of all channels; a constant channel has 1e-6, which has a gradient."""
    if can_be_fast(values) and values.shape[1] <= 3:
        return moments_of(values, inside)
    mean = mean_inside(values, inside)
    spread = (values - mean.unflatten(1, (-1, *[1] * (values.ndim - 2)))) ** 2
    return torch.cat([mean, mean_inside(spread, inside).clamp_min(1e-12).sqrt()], dim=1)


def scale_and_shift(
    reference: Float[Tensor, "batch twice"], own: Float[Tensor, "batch twice"], floor: float
) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel"]]:
    """What makes moments ``own`` those of ``reference``; deviations count as at least ``floor``."""
    (mean, deviation), (wanted, wanted_deviation) = own.chunk(2, 1), reference.chunk(2, 1)
    gain = wanted_deviation.clamp_min(floor) / deviation.clamp_min(floor)
    return gain, wanted - gain * mean


def stretch(
    values: Float[Tensor, "batch channel *space"],
    reference: Float[Tensor, "batch twice"],
    own: Float[Tensor, "batch twice"],
    floor: float,
) -> Float[Tensor, "batch channel *space"]:
    """(v - mean) / deviation · deviation of the reference + its mean, for every channel."""
    shape = (len(values), -1, *[1] * (values.ndim - 2))
    gain, shift = scale_and_shift(reference, own, floor)
    return values * gain.view(shape) + shift.view(shape)


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


def _blank(images: Tensor, inside: Tensor | None) -> Tensor:
    """0 outside, whatever stood there."""
    return images if inside is None else torch.where(inside[:, None], images, 0)
