"""One style unit as arithmetic: instance normalization, a weight and a bias per channel, blended with the feature.

``y = strength · (IN(f) · weight + bias) + (1 − strength) · f`` is, for every image and channel, one multiplication and
one addition: a pass over the feature for its statistics, and one for the result.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

DEAD = 1e-3
"""A channel below this share of its style's deviation carries noise alone."""

FieldsOfView = Bool[Tensor, "batch *space"]
Features = Float[Tensor, "batch channel *space"]
Moments = tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel"]]


def statistics(features: Features, fields_of_view: FieldsOfView | None = None) -> Moments:
    """Mean and biased standard deviation of every channel of every image, float32 (float64 of float64).

    Args:
        features: any size.
        fields_of_view: masks of the *images*; what counts at the feature's size is what lies inside by more than half.
            An image of whose mask nothing is left at that size counts as a whole.
    """
    mean, variance = moments(features, fields_of_view)
    return mean, variance.sqrt()


def moments(features: Features, fields_of_view: FieldsOfView | None = None) -> Moments:
    """Mean and biased variance, as in :func:`statistics`; differentiable where a channel is constant, too."""
    with torch.autocast(features.device.type, enabled=False):
        if fields_of_view is not None:
            return _moments_inside(features, fields_of_view)
        if features.device.type == "cpu" and not features.requires_grad:
            found = [torch.batch_norm_update_stats(part, *_constants(part), 1.0) for part in _rows(features)]
            mean, variance = (torch.cat(values).view(features.shape[:2]) for values in zip(*found, strict=True))
            return mean, variance
        exact = _exact(features)
        variance, mean = torch.var_mean(exact, dim=tuple(range(2, exact.ndim)), correction=0)
        return mean, variance


def restyle(
    features: Features,
    weight: Float[Tensor, "*batch channel"],
    bias: Float[Tensor, "*batch channel"],
    *,
    strength: float | Tensor = 1.0,
    floor: float = DEAD,
    fields_of_view: FieldsOfView | None = None,
    eps: float = 1e-5,
    known: Moments | None = None,
) -> Features:
    """``features`` with the given statistics: mean ``bias`` and deviation ``|weight|`` in every channel.

    Args:
        features: any floating type and memory layout; the result has the same.
        weight, bias: [channel], or [batch, channel] for every image its own.
        strength: 0 to 1; one number, or a tensor of no axis or of one, [batch]. The number 0 returns ``features``
            itself, a tensor's 0 an equal copy.
        floor: a channel whose deviation is below ``floor · |weight|`` gives its bias alone; amplified more than
            ``1 / floor`` times it would be noise.
        fields_of_view: masks of the images, see :func:`statistics`; all of the feature is restyled.
        eps: added to the variance.
        known: what :func:`moments` gives for ``features``, where the caller has it.
    """
    if isinstance(strength, int | float) and strength == 0:
        return features
    mean, variance = known or moments(features, fields_of_view)
    weight = torch.where(variance < (floor * weight.to(mean)).square(), 0.0, weight.to(mean))
    bias = bias.to(mean).expand_as(mean)
    if isinstance(strength, Tensor) or strength != 1 or mean.requires_grad:
        strength = strength.to(mean).reshape(-1, 1) if isinstance(strength, Tensor) else strength
        gain = weight * (variance + eps).rsqrt()
        weight, bias = strength * gain + (1 - strength), strength * (bias - gain * mean)
        mean, variance, eps = torch.zeros_like(mean), torch.ones_like(variance), 0.0
    return _affine(features, mean, variance, weight, bias, eps)


def _affine(features: Features, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Features:
    """``(features − mean) / √(variance + eps) · weight + bias`` in one pass, all parameters [batch, channel]."""
    rows = _rows(features)
    parts = [values.reshape(len(rows), -1) for values in (mean, variance, weight, bias)]
    done = [
        functional.batch_norm(row, mean, variance, weight, bias, training=False, eps=eps)
        for row, mean, variance, weight, bias in zip(rows, *parts, strict=True)
    ]
    if features.is_contiguous():
        return done[0].view(features.shape)
    return done[0] if len(done) == 1 else torch.cat(done)


def _rows(features: Features) -> tuple[Tensor, ...]:
    """What a batch norm takes for one image: all images as one of more channels where memory allows it, or each."""
    if features.is_contiguous():
        return (features.view(1, -1, *features.shape[2:]),)
    return features.split(1)


def _constants(row: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if row.dtype == torch.float64 else torch.float32
    return torch.zeros(row.shape[1], dtype=dtype), torch.zeros(row.shape[1], dtype=dtype)


def _exact(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _moments_inside(features: Features, fields_of_view: FieldsOfView) -> Moments:
    flat = _exact(features).flatten(2)
    inside = functional.interpolate(fields_of_view[:, None].float(), size=tuple(features.shape[2:]), mode="area") > 0.5
    chosen = inside.flatten(2).transpose(1, 2)
    chosen = (chosen | ~chosen.any(dim=1, keepdim=True)).to(flat)
    count = chosen.sum(dim=1)
    mean = (flat @ chosen)[..., 0] / count
    return mean, ((flat - mean[..., None]).square() @ chosen)[..., 0] / count
