"""CIE-Lab and back on the CPU in float32, more than twice as fast as the plain formulas of ``color_spaces``.

An image is worked on in pieces that stay in the processor's cache, in buffers that are kept. Powers are polynomials
(Lawson's weighted least squares), of the value or of its fourth root, which is two reciprocal square roots. The
straight lines near black are part of them: with b = max(x, knee), a curve is p(b) + slope · (x - b). Factors that all
pixels share are left to the matrices between the curves.

Errors: sRGB to light 0.004 grey levels of 8 bits, light to sRGB 0.009, the cube root 7e-7. No gradients;
``color_spaces`` has them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.normalizations.color_spaces import DELTA, LAB, LAB_OFFSET, RGB_TO_WHITE

PIECE = 65536
"""Pixels worked on at once: three buffers of three planes take 2 MB."""
_KNEE, _LIGHT_KNEE = 0.04045, 0.04045 / 12.92
_SLOPE = 1 / (3 * DELTA**2)
_TO_LIGHT = (8.716130492e-4, 3.45012526e-2, 0.4981244589, 0.7718933087, -0.5411775639, 0.3234355695, -8.768005256e-2)
"""((x + 0.055) / 1.055)^2.4 on [0.04045, 1], lowest power first; the error weighted so that it counts grey levels."""
_ROOT = (-1.079250318e-2, 0.4662004117, 1.018013566, -0.9211396476, 0.7122217569, -0.3327455346, 6.824265656e-2)
"""q^(4/3) of q = x^(1/4), x in [δ³, 1]."""
_FROM_LIGHT = (-6.461153377e-2, 0.196135863, 1.122681564, -0.3355014229, 8.132989785e-2)
"""1.055 q^(5/3) - 0.055 of q = x^(1/4), x in [0.0031308, 1]."""


def _horner(coefficients: tuple[float, ...], power: int, slope: float, *, scale: float) -> list[Tensor]:
    """Coefficients of a polynomial less ``slope · x^power``, of ``scale`` times its argument, from the highest down.

    What is left of ``slope · (x - b)`` is linear. The highest is made 1, or -1 with ``scale`` other than 1.
    """
    terms = [c - slope * (index == power) for index, c in enumerate(coefficients)]
    terms = [c / scale**index for index, c in enumerate(terms)] if scale != 1 else [c / terms[-1] for c in terms]
    return [torch.tensor(c) for c in terms[::-1]]


_LIGHT_TERMS = _horner(_TO_LIGHT, 1, 1 / 12.92, scale=1)
_ROOT_TERMS = _horner(_ROOT, 4, _SLOPE, scale=1)
_SCALE = (12.92 - _FROM_LIGHT[4]) ** 0.25
"""Light is given times ``_SCALE``⁴, so that the highest coefficient is -1 and no factor remains."""
_RGB_TERMS = _horner(_FROM_LIGHT, 4, 12.92, scale=_SCALE)
_TO_WHITE = (RGB_TO_WHITE * _TO_LIGHT[-1]).float()
_TO_LAB, _FROM_LAB = (LAB * _ROOT[-1]).float(), torch.linalg.inv(LAB)
_OFFSET = LAB_OFFSET[:, None].float()
_TO_RGB = (torch.linalg.inv(RGB_TO_WHITE) * _SCALE**4).float()
_kept = threading.local()


def can_be_fast(*tensors: Tensor | None) -> bool:
    """Whether all are float32 on the CPU and no gradient is wanted of any."""
    present = [tensor for tensor in tensors if tensor is not None]
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in present)
    return plain and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in present))


def encode_lab(
    images: Float[Tensor, "batch 3 *space"], inside: Bool[Tensor, "batch *space"] | None = None
) -> tuple[Float[Tensor, "batch 3 *space"], Float[Tensor, "batch 6"]]:
    """CIE-Lab of images in [0, 1], and its means and deviations, taken while each piece is at hand."""
    lab, rows = torch.empty(images.shape), []
    for index, (source, target) in enumerate(zip(images.flatten(2), lab.flatten(2), strict=True)):
        sums = _Moments(None if inside is None else inside[index])
        for rgb, piece in zip(source.split(PIECE, 1), target.split(PIECE, 1), strict=True):
            light, white, other = _buffers(piece)
            _to_light(rgb, light, other)
            torch.mm(_TO_WHITE, light, out=white)
            _to_curve(white, light, other)
            torch.addmm(_OFFSET, _TO_LAB, light, out=piece)
            sums.add(piece, light)
        rows.append(sums.result())
    return lab, torch.stack(rows)


def decode_lab_(
    lab: Float[Tensor, "batch 3 *space"], gain: Float[Tensor, "batch 3"], offset: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 3 *space"]:
    """RGB in [0, 1] of ``gain · lab + offset``, clipped, written over ``lab``."""
    for image, factor, shift in zip(lab.flatten(2), gain.double(), offset.double(), strict=True):
        matrix = (_FROM_LAB * factor).float()
        constant = (_FROM_LAB @ (shift - LAB_OFFSET)).float()[:, None]
        for piece in image.split(PIECE, 1):
            curved, light, other = _buffers(piece)
            torch.addmm(constant, matrix, piece, out=curved)
            _from_curve_(curved, light, other)
            torch.mm(_TO_RGB, curved, out=light)
            _from_light(light, piece, other)
    return lab


def moments_of(
    values: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch twice"]:
    """Means and deviations of up to three channels, without a copy of ``values``, which would cost more than they."""
    rows = []
    for index, image in enumerate(values.flatten(2)):
        sums = _Moments(None if inside is None else inside[index])
        for piece in image.split(PIECE, 1):
            sums.add(piece, next(_buffers(piece)))
        rows.append(sums.result())
    return torch.stack(rows)


class _Moments:
    """Sums of differences to the first piece's mean, and of their squares; in float64 over pieces."""

    def __init__(self, inside: Bool[Tensor, "*space"] | None) -> None:
        self._inside = None if inside is None else inside.flatten().float()
        self._pivot: Tensor | None = None
        self._count, self._sum, self._squares = 0.0, torch.zeros(()).double(), torch.zeros(()).double()

    def add(self, piece: Float[Tensor, "channel n"], buffer: Float[Tensor, "channel n"]) -> None:
        """``piece`` counts, pieces in their order; ``buffer`` is written over."""
        if self._pivot is None:
            self._pivot = piece.mean(1, keepdim=True)
        torch.sub(piece, self._pivot, out=buffer)
        self._count += piece.shape[1]
        if self._inside is not None:
            weights, self._inside = self._inside[: piece.shape[1]], self._inside[piece.shape[1] :]
            buffer.mul_(weights)
            self._count += float(weights.sum()) - len(weights)
        self._sum = self._sum + buffer.sum(1).double()
        self._squares = self._squares + torch.linalg.vector_norm(buffer, dim=1).double() ** 2

    def result(self) -> Float[Tensor, " twice"]:
        """Means, then deviations."""
        assert self._pivot is not None
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean**2).clamp_min(1e-12)
        return torch.cat([mean + self._pivot[:, 0].double(), variance.sqrt()]).float()


def _buffers(piece: Float[Tensor, "3 n"]) -> Iterator[Float[Tensor, "3 n"]]:
    """Three of the piece's shape, the same ones for every piece of a thread."""
    if not hasattr(_kept, "buffers"):
        _kept.buffers = torch.empty(3, 3 * PIECE)
    return (buffer[: piece.numel()].view(piece.shape) for buffer in _kept.buffers)


def _to_light(rgb: Tensor, out: Tensor, bent: Tensor) -> None:
    """Light, divided by the highest coefficient of ``_TO_LIGHT``."""
    torch.clamp_min(rgb, _KNEE, out=bent)
    _polynomial(bent, _LIGHT_TERMS, out)
    out.add_(rgb, alpha=1 / (12.92 * _TO_LIGHT[-1]))


def _to_curve(light: Tensor, out: Tensor, root: Tensor) -> None:
    """The curve of Lab, divided by the highest coefficient of ``_ROOT``."""
    torch.clamp_min(light, DELTA**3, out=root).rsqrt_().rsqrt_()
    _polynomial(root, _ROOT_TERMS, out)
    out.add_(light, alpha=_SLOPE / _ROOT[-1])


def _from_curve_(values: Tensor, bent: Tensor, cube: Tensor) -> None:
    torch.clamp_min(values, DELTA, out=bent)
    torch.pow(bent, 3, out=cube)
    cube.add_(bent, alpha=-1 / _SLOPE)
    torch.add(cube, values, alpha=1 / _SLOPE, out=values)


def _from_light(light: Tensor, out: Tensor, root: Tensor) -> None:
    """RGB of light times ``_SCALE``⁴, clipped."""
    torch.clamp_min(light, _LIGHT_KNEE * _SCALE**4, out=root).rsqrt_().rsqrt_()
    _polynomial(root, _RGB_TERMS, out)
    out.add_(light, alpha=12.92 / _SCALE**4).clamp_(0, 1)


def _polynomial(x: Tensor, terms: list[Tensor], out: Tensor) -> None:
    """Horner's scheme, one step a coefficient; the highest is 1 or -1."""
    highest, second, *rest = terms
    torch.add(second, x, alpha=round(float(highest)), out=out)
    for term in rest:
        torch.addcmul(term, x, out, out=out)
