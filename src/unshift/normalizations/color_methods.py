"""All ways of moving an image's colors to a reference's, by name, and which images are no reference at all.

Statistics of one method mean nothing to another: keep the name beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import UnknownName
from unshift.normalizations.color_8bit import Lab8Bit
from unshift.normalizations.color_covariance import MongeKantorovich
from unshift.normalizations.color_method import ColorMethod, require
from unshift.normalizations.color_moments import Lab, Reinhard
from unshift.normalizations.color_sliced import Sliced
from unshift.normalizations.color_stain import Macenko

__all__ = ["METHODS", "ColorMethod", "Degenerate", "color_method", "degenerate", "source_files"]

METHODS: Mapping[str, ColorMethod] = MappingProxyType(
    {method.name: method for method in (Lab(), Lab8Bit(), Reinhard(), MongeKantorovich(), Sliced(), Macenko())}
)
"""Every method by its name."""

LEVEL = 1 / 255
_BLACK, _WHITE = 16 * LEVEL, 250 * LEVEL


def color_method(name: str, *, where: str = "") -> ColorMethod:
    """The method of that name.

    Raises:
        UnknownName: there is none; the message offers the nearest names.
    """
    if name not in METHODS:
        raise UnknownName("color method", name, METHODS, where=where)
    return METHODS[name]


def source_files() -> tuple[Path, ...]:
    """The files whose code decides what a method does: scores that were made by other code are not these ones."""
    return tuple(path for path in sorted(Path(__file__).parent.glob("color_*.py")) if path.stem != "color_transfer")


class Degenerate(NamedTuple):
    """Which images of a batch have no colors to speak of."""

    constant: Bool[Tensor, " batch"]
    """No channel varies by more than one grey level of 8 bits."""
    black: Bool[Tensor, " batch"]
    """99 of 100 pixels are darker than 16 of 255 in every channel: a closed lens cap, a frame before the lamp is on."""
    overexposed: Bool[Tensor, " batch"]
    """More than half of the pixels are above 250 of 255 in every channel."""

    def any(self) -> Bool[Tensor, " batch"]:
        """One of the three."""
        return self.constant | self.black | self.overexposed

    def words(self, index: int) -> str:
        """What is wrong with one image, for a message; empty when nothing is."""
        found = {"constant": self.constant, "nearly black": self.black, "over-exposed": self.overexposed}
        return " and ".join(word for word, flags in found.items() if flags[index])


def degenerate(
    images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
) -> Degenerate:
    """Which images are constant, nearly black or over-exposed inside their field of view.

    Raises:
        ShapeMismatch: neither one nor three channels, or a field of view on another grid.
        DataError: the field of view of an image is empty.
    """
    require(images, inside)
    valid = torch.ones_like(images[:, 0], dtype=torch.bool) if inside is None else inside
    weights = valid[:, None]
    low = torch.where(weights, images, torch.inf).flatten(2).amin(2)
    high = torch.where(weights, images, -torch.inf).flatten(2).amax(2)
    constant = (high - low).amax(1) <= LEVEL * 1.001
    dark = _share(images.amax(1) < _BLACK, valid) >= 0.99
    return Degenerate(constant, dark, _share(images.amin(1) > _WHITE, valid) > 0.5)


def _share(of: Bool[Tensor, "batch *space"], valid: Bool[Tensor, "batch *space"]) -> Float[Tensor, " batch"]:
    return (of & valid).flatten(1).sum(1) / valid.flatten(1).sum(1)
