"""Mean and deviation of each channel moved to the reference's, in CIE-Lab or in l-alpha-beta.

Reinhard, Ashikhmin, Gooch and Shirley, "Color Transfer between Images", IEEE CG&A 2001: l-alpha-beta. "Color-Quality
Invariance for Robust Medical Image Segmentation" (DCIN) cites it, and its code works in CIE-Lab.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from unshift.normalizations.color_fast import can_be_fast, decode_lab_, encode_lab
from unshift.normalizations.color_method import DEVIATION_FLOOR, ColorMethod, moments, scale_and_shift, stretch
from unshift.normalizations.color_spaces import alpha_beta_to_rgb, lab_to_rgb, rgb_to_alpha_beta, rgb_to_lab


class _Moments(ColorMethod):
    """Three means, three deviations."""

    color_size: ClassVar[int] = 6
    floor: ClassVar[float]

    @abstractmethod
    def decode(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`encode`."""

    def color_statistics(self, encoded: Tensor, inside: Tensor | None) -> Tensor:
        """Three means, then three deviations."""
        return moments(encoded, inside)

    def move(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """Channel by channel (v - mean) / deviation · deviation of the reference + its mean."""
        return self.decode(stretch(encoded, reference, own, self.floor))


class Lab(_Moments):
    """CIE-Lab in floating point: v' = (v - μ) / σ · σ_reference + μ_reference for L, a and b.

    float32 images on the CPU whose gradient is not wanted go by ``color_fast``, which gives the same to 0.1 grey level.
    """

    name: ClassVar[str] = "lab"
    floor: ClassVar[float] = DEVIATION_FLOOR

    def encode(self, images: Tensor) -> Tensor:
        """CIE-Lab."""
        return encode_lab(images)[0] if can_be_fast(images) else rgb_to_lab(images)

    def look(self, images: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        """In one pass where it can be fast."""
        return encode_lab(images, inside) if can_be_fast(images) else super().look(images, inside)

    def decode(self, values: Tensor) -> Tensor:
        """RGB."""
        return lab_to_rgb(values)

    def light_statistics(self, images: Tensor, color: Tensor, inside: Tensor | None) -> Tensor:
        """Of the first channel."""
        return color[:, [0, 3]]

    def finish(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """As :meth:`move`, clipped."""
        if can_be_fast(encoded, reference, own):
            return decode_lab_(encoded, *scale_and_shift(reference, own, self.floor))
        return super().finish(encoded, reference, own, inside)


class Reinhard(_Moments):
    """The same in l-alpha-beta, logarithms of cone responses: a dark pixel moves the mean as much as a light one."""

    name: ClassVar[str] = "reinhard"
    floor: ClassVar[float] = 1e-4

    def encode(self, images: Tensor) -> Tensor:
        """l, alpha, beta."""
        return rgb_to_alpha_beta(images)

    def decode(self, values: Tensor) -> Tensor:
        """RGB."""
        return alpha_beta_to_rgb(values)
