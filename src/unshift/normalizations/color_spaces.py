"""RGB to the spaces in which colors are moved, and back: CIE-Lab, l-alpha-beta, lightness alone. Plain, differentiable.

RGB is sRGB in [0, 1]. Every pair is exact both ways on all real numbers, far outside [0, 1] too: what a transfer gives
before clipping can be looked at in the space where it was made.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_LINEAR_LIGHT = 0.04045 / 12.92
"""Below it sRGB is a straight line of slope 12.92."""
DELTA = 6 / 29
"""Below its cube the Lab curve is a straight line, tangent to the cube root."""
RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
"""sRGB primaries, D65 (ITU-R BT.709)."""
RGB_TO_WHITE = RGB_TO_XYZ / RGB_TO_XYZ.sum(1, keepdim=True)
"""Linear RGB -> XYZ as shares of white. White is what RGB (1, 1, 1) gives, so that greys have a = b = 0 exactly; the
rounded white point of scikit-image and Kornia leaves up to 0.003."""
LAB = torch.tensor([[0.0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64)
"""Curved (X, Y, Z) -> (L + 16, a, b)."""
LAB_OFFSET = torch.tensor([-16.0, 0, 0], dtype=torch.float64)
RGB_TO_LMS = torch.tensor(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], dtype=torch.float64
)
"""Reinhard et al. 2001, equation 4."""
LMS_TO_ALPHA_BETA = (
    torch.tensor([[1.0, 1, 1], [1, 1, -2], [1, -1, 0]], dtype=torch.float64)
    / torch.tensor([[3.0], [6], [2]], dtype=torch.float64).sqrt()
)
"""Ruderman's opponent axes, orthonormal: Reinhard et al. 2001, equation 6."""
LOG_FLOOR = 1 / 255
"""Added to L, M and S before the logarithm: black has none."""


def mix(matrix: Float[Tensor, "row 3"], images: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch row *space"]:
    """``matrix`` applied to the color of every pixel."""
    return (matrix.to(images) @ images.flatten(2)).unflatten(2, images.shape[2:])


def to_linear(images: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Light of sRGB values; the straight line goes on below 0, the power above 1."""
    bent = images.clamp_min(0.04045)
    return ((bent + 0.055) / 1.055) ** 2.4 + (images - bent) / 12.92


def from_linear(light: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The inverse of :func:`to_linear`."""
    bent = light.clamp_min(_LINEAR_LIGHT)
    return 1.055 * bent ** (1 / 2.4) - 0.055 + 12.92 * (light - bent)


def curve(light: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The cube root, and its tangent at ``DELTA``³ below: CIE 15."""
    bent = light.clamp_min(DELTA**3)
    return bent ** (1 / 3) + (light - bent) / (3 * DELTA**2)


def uncurve(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The inverse of :func:`curve`."""
    bent = values.clamp_min(DELTA)
    return bent**3 + 3 * DELTA**2 * (values - bent)


def rgb_to_lab(images: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch 3 *space"]:
    """CIE-Lab under D65: L in 0 … 100, a and b in about -110 … 110 for images in [0, 1]."""
    lab = mix(LAB, curve(mix(RGB_TO_WHITE, to_linear(images))))
    return lab + _along(LAB_OFFSET, lab)


def lab_to_rgb(lab: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch 3 *space"]:
    """The inverse of :func:`rgb_to_lab`; colors outside sRGB come out beyond [0, 1]."""
    light = uncurve(mix(torch.linalg.inv(LAB), lab - _along(LAB_OFFSET, lab)))
    return from_linear(mix(torch.linalg.inv(RGB_TO_WHITE), light))


def grey_to_lightness(images: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """CIE lightness 0 … 100 of grey values in [0, 1]: what :func:`rgb_to_lab` gives of three equal channels."""
    return 116 * curve(to_linear(images)) - 16


def lightness_to_grey(lightness: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The inverse of :func:`grey_to_lightness`."""
    return from_linear(uncurve((lightness + 16) / 116))


def lightness(images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch 1 *space"]:
    """CIE lightness 0 … 100 of grey (one channel) or color images."""
    if images.shape[1] == 1:
        return grey_to_lightness(images)
    return 116 * curve(mix(RGB_TO_WHITE[1:2], to_linear(images))) - 16


def rgb_to_alpha_beta(images: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch 3 *space"]:
    """l, alpha, beta of Reinhard et al. 2001, with natural logarithms, which make no difference to a transfer.

    Of RGB as it is stored, as in the paper. Colors with L, M or S below ``-LOG_FLOOR``, which no image in [0, 1] has,
    give NaN.
    """
    return mix(LMS_TO_ALPHA_BETA, (mix(RGB_TO_LMS, images) + LOG_FLOOR).log())


def alpha_beta_to_rgb(values: Float[Tensor, "batch 3 *space"]) -> Float[Tensor, "batch 3 *space"]:
    """The inverse of :func:`rgb_to_alpha_beta`."""
    return mix(torch.linalg.inv(RGB_TO_LMS), mix(LMS_TO_ALPHA_BETA.T, values).exp() - LOG_FLOOR)


def _along(values: Float[Tensor, " channel"], images: Tensor) -> Tensor:
    return values.to(images).view(1, -1, *[1] * (images.ndim - 2))
