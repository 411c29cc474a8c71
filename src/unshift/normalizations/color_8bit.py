"""CIE-Lab as the authors of DCIN computed it, for comparison: 8 bits, OpenCV, red and blue exchanged.

Their code hands RGB to a conversion that expects BGR, to and fro, and divides by a deviation that may be 0; here a
deviation is at least a hundredth of a level. Rounded at four places: the input, Lab, Lab after the move (cut off, as a
cast to 8 bits does) and RGB. OpenCV's fixed point is computed from the same formulas: Lab is OpenCV 4.11's but for one
level in 4 of 100,000 numbers; the way back is rounded from floating point where OpenCV has tables, and is one level off
in 6 of 100 numbers, two in 1 of 10,000. An image moved onto itself is what 8-bit Lab leaves of it: saturated dark
colors change by up to 26 levels, in endoscopies and fundus pictures by up to 22. Nothing has a gradient.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from unshift.normalizations.color_method import DEVIATION_FLOOR, ColorMethod, moments, stretch
from unshift.normalizations.color_spaces import RGB_TO_XYZ, from_linear, mix, to_linear, uncurve

_WHITE = torch.tensor([[0.950456], [1.0], [1.088754]], dtype=torch.float64)
_TO_WHITE = RGB_TO_XYZ / _WHITE
_BITS, _MORE_BITS = 12, 15
_FORGIVEN = 1e-3
"""Before cutting off: 99.9999 is 100, and an image moved onto itself stays."""
_LIGHT = (255 * 8 * to_linear(torch.arange(256, dtype=torch.float64) / 255)).round().int()
"""Light of the 256 levels in 11 bits."""
_CURVE_AT = torch.arange(256 * 3 // 2 * 8, dtype=torch.float64) / (255 * 8)
_CURVE = (
    (2**_MORE_BITS * torch.where(_CURVE_AT < 0.008856, _CURVE_AT * 7.787 + 16 / 116, _CURVE_AT ** (1 / 3)))
    .round()
    .int()
)
_COEFFICIENTS = (2**_BITS * _TO_WHITE).round().int()


class Lab8Bit(ColorMethod):
    """Mean and deviation of each channel in 8-bit Lab of the image whose red and blue are exchanged."""

    name: ClassVar[str] = "lab_8bit"
    color_size: ClassVar[int] = 6

    def encode(self, images: Tensor) -> Tensor:
        """Lab in 0 … 255, whole numbers: L · 2.55, a + 128, b + 128."""
        return rgb_to_lab_8bit((images.flip(1) * 255).round().clamp(0, 255).int()).to(images.dtype)

    def color_statistics(self, encoded: Tensor, inside: Tensor | None) -> Tensor:
        """Three means, then three deviations."""
        return moments(encoded, inside)

    def move(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """Clipped and rounded all the same: there is no other way in 8 bits."""
        moved = stretch(encoded, reference, own, DEVIATION_FLOOR).clamp(0, 255).add(_FORGIVEN).floor()
        return lab_8bit_to_rgb(moved.int()).to(encoded.dtype).flip(1) / 255


def rgb_to_lab_8bit(levels: Int[Tensor, "batch 3 *space"]) -> Int[Tensor, "batch 3 *space"]:
    """Levels 0 … 255 of R, G, B -> L · 2.55, a + 128, b + 128, rounded as OpenCV does in fixed point."""
    light = _LIGHT.to(levels.device)[levels.flatten(2).long()]
    rows = [sum(int(c) * light[:, i] for i, c in enumerate(row)) for row in _COEFFICIENTS]
    x, y, z = (_CURVE.to(levels.device)[_descale(torch.as_tensor(row), _BITS).long()] for row in rows)
    lightness = _descale((116 * 255 + 50) // 100 * y - (16 * 255 * 2**_MORE_BITS + 50) // 100, _MORE_BITS)
    a = _descale(500 * (x - y) + 128 * 2**_MORE_BITS, _MORE_BITS)
    b = _descale(200 * (y - z) + 128 * 2**_MORE_BITS, _MORE_BITS)
    return torch.stack([lightness, a, b], dim=1).clamp(0, 255).unflatten(2, levels.shape[2:])


def lab_8bit_to_rgb(levels: Int[Tensor, "batch 3 *space"]) -> Int[Tensor, "batch 3 *space"]:
    """The way back, rounded once, at the end."""
    lightness, a, b = levels.float().unbind(1)
    y = (lightness * (100 / 255) + 16) / 116
    curved = torch.stack([y + (a - 128) / 500, y, y - (b - 128) / 200], dim=1)
    rgb = from_linear(mix(torch.linalg.inv(_TO_WHITE), uncurve(curved)).clamp(0, 1))
    return (rgb * 255).round().clamp(0, 255).int()


def _descale(values: Int[Tensor, "*any"], bits: int) -> Int[Tensor, "*any"]:
    return (values + (1 << (bits - 1))) >> bits
