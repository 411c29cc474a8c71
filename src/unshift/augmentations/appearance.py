"""Appearance shifts such as another vendor, setting or operator makes: what units trained on the task meet.

Ours, not a paper's list. Each image draws, each with its own probability: blur or sharpening, grain that multiplies the
signal, a smooth gain along a random direction (as time-gain compensation and uneven light give), gain, contrast,
brightness, gamma, a compressing tone curve, noise; images of three channels also a colour cast and a change of
saturation. ``strength`` scales every range; at 0, as for the share ``untouched``, images come back bit for bit.
Steps run in this order, and intensities are clipped to [0, 1] before gamma and at the end.

Volumes [batch, channel, depth, height, width] are filtered in plane; all other draws hold for the whole volume, grain
and noise for each voxel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations.blurring import blurred
from unshift.augmentations.drawing import coin, per_image, uniform
from unshift.augmentations.intensities import counted_as_unit
from unshift.contracts import Augmentation

_LUMA = (0.299, 0.587, 0.114)
_REACH = 3
"""Radius of the blur's filter in deviations of the greatest blur."""


class Config(config.Config):
    """Ranges at strength 1, and probabilities per image.

    ``intensities``: ``unit``, images must be in [0, 1]; ``image``, each image's own range counts as [0, 1] (z-scored
    slices, arbitrary MR units), and is the range that results are clipped to.
    """

    strength: float = Field(1.0, ge=0, le=1, description="scales every range; 0 changes nothing")
    untouched: float = Field(0.2, ge=0, le=1, description="share of images that stay as they are")
    probability: float = Field(0.5, ge=0, le=1, description="of each step, for an image that is touched")
    gain: float = Field(0.8, ge=0, description="factor 2^-gain … 2^gain")
    contrast: float = Field(0.6, ge=0, description="factor 2^-contrast … 2^contrast, about the image's mean")
    brightness: float = Field(0.15, ge=0, description="added, as a share of the full range")
    gamma: float = Field(1.0, ge=0, description="exponent 2^-gamma … 2^gamma")
    compression: float = Field(20.0, ge=0, description="k in log(1 + k x) / log(1 + k)")
    ramp: float = Field(1.2, ge=0, description="gain along a direction: factor 2^-ramp … 2^ramp at its ends")
    blur: float = Field(0.012, ge=0, le=0.1, description="greatest deviation, as a share of the shorter side")
    sharpening: float = Field(1.0, ge=0, description="greatest share of detail that is added once more")
    grain: float = Field(0.3, ge=0, description="greatest deviation of the factor")
    noise: float = Field(0.06, ge=0, description="greatest deviation, as a share of the full range")
    cast: float = Field(0.4, ge=0, description="factor 2^-cast … 2^cast on each of three channels")
    saturation: float = Field(1.0, ge=0, le=1, description="distance from grey: factor 1 - saturation … 1 + saturation")
    black: float = Field(0.5, ge=0, le=1, description="share of touched images whose exact zeros stay zero")
    intensities: Literal["unit", "image"] = "unit"


class Appearance(Augmentation):
    """Parameters, one entry per image; a step that an image did not draw has its neutral value."""

    Config = Config

    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """One draw per image.

        Returns:
            bool [batch] ``touched``, ``black``; float32 [batch] ``gain``, ``contrast``, ``gamma``, ``saturation``
            (factors and exponents, neutral 1), ``brightness``, ``compression``, ``blur`` (pixels), ``sharpening``,
            ``angle``, ``slope``, ``bend`` (neutral 0), [batch, channel] ``cast`` (factors); ``grain``
            [batch, 1, *space] and ``noise`` like ``images`` (neutral 0).
        """
        c, (count, channels), space = self.config, images.shape[:2], images.shape[2:]
        signed = lambda most: self._some(generator, count, -most, most)  # noqa: E731
        positive = lambda most: self._some(generator, count, 0, most)  # noqa: E731
        parameters = {
            "touched": coin(generator, count, 1 - c.untouched) & (c.strength > 0),
            "black": coin(generator, count, c.black),
            "gain": 2 ** signed(c.gain),
            "contrast": 2 ** signed(c.contrast),
            "brightness": signed(c.brightness),
            "gamma": 2 ** signed(c.gamma),
            "compression": positive(c.compression),
            "blur": positive(c.blur) * min(space[-2:]),
            "sharpening": positive(c.sharpening),
            "angle": uniform(generator, (count,), 0, 2 * math.pi).float(),
            "slope": positive(c.ramp),
            "bend": uniform(generator, (count,), -0.5, 0.5).float(),
            "saturation": 1 + signed(c.saturation),
        }
        casts = uniform(generator, (count, channels), -c.cast, c.cast) * c.strength
        is_cast = coin(generator, count, c.probability if channels == 3 else 0)
        parameters["cast"] = (2 ** (casts * is_cast[:, None])).float()
        parameters["noise"] = _scaled_noise(generator, (count, channels, *space), positive(c.noise))
        grain = _scaled_noise(generator, (count, 1, *space), positive(c.grain))
        is_coarse = coin(generator, count, 0.5)
        grain[is_coarse] = _coarse(grain[is_coarse])
        return parameters | {"grain": grain}

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Images in [0, 1] -> [0, 1]; images that were not touched come back bit for bit.

        Raises:
            DataError: ``intensities`` is ``unit`` and the images are not in [0, 1] (or within 0.05 of it).
        """
        at = parameters["touched"].nonzero()[:, 0]
        if not len(at):
            return images.clone()
        p = {name: value[at].to(images.device) for name, value in parameters.items()}
        whole, at = images[at.to(images.device)], at.to(images.device)
        low, span = counted_as_unit(whole, self.config.intensities, who="Augmentation appearance")
        x = (whole - low) / span
        is_black = (x <= 0).all(1, keepdim=True) & per_image(p["black"], x)
        x = _filtered(x, p["blur"], p["sharpening"], round(_REACH * self.config.blur * min(x.shape[-2:])))
        x = _toned(x * _light(x, p) * (1 + p["grain"]), p) + p["noise"]
        x = (_colored(x, p) if x.shape[1] == 3 else x).clamp_(0, 1).masked_fill_(is_black, 0)
        return images.index_copy(0, at, x * span + low)

    def _some(self, generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
        """Uniform, scaled by the strength, for the images that draw the step; 0 for the others."""
        values = uniform(generator, (count,), low, high) * self.config.strength
        return (values * coin(generator, count, self.config.probability)).float()


def _scaled_noise(generator: torch.Generator, shape: tuple[int, ...], deviations: Tensor) -> Tensor:
    noise, chosen = torch.zeros(shape), deviations > 0
    if chosen.any():
        drawn = torch.randn((int(chosen.sum()), *shape[1:]), generator=generator)
        noise[chosen] = drawn * per_image(deviations[chosen], drawn)
    return noise


def _coarse(noise: Tensor) -> Tensor:
    """White noise as noise of the same deviation in grains of three pixels."""
    planes = F.pad(noise.flatten(0, -3)[:, None], (1, 1, 1, 1), mode="replicate")
    return (3 * F.avg_pool2d(planes, 3, stride=1)).view_as(noise)


def _light(images: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """Factor 2^(slope · t) at place t = -1 … 1 along each image's direction, bent so that one end changes faster."""
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height, device=images.device)[:, None]
    x = torch.linspace(-1, 1, width, device=images.device)[None]
    sine, cosine, slope, bend = (v.view(-1, 1, 1) for v in (p["angle"].sin(), p["angle"].cos(), p["slope"], p["bend"]))
    place = (sine * y + cosine * x) / (sine.abs() + cosine.abs())
    factor = torch.exp2(slope * (place + bend * (place * place - 1)))
    return factor.view(-1, *(1,) * (images.ndim - 3), height, width)


def _toned(images: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """Gain, contrast about the image's mean, brightness; then gamma and the compressing curve, in [0, 1]."""
    images = images * per_image(p["gain"], images)
    mean, contrast = images.mean(tuple(range(1, images.ndim)), keepdim=True), per_image(p["contrast"], images)
    images = ((images - mean) * contrast + mean + per_image(p["brightness"], images)).clamp_(0, 1)
    images = images ** per_image(p["gamma"], images)
    k = per_image(p["compression"], images)
    curve = torch.log1p(k * images) / torch.log1p(k).clamp_min(1e-12)
    return torch.where(k > 1e-4, curve, images)


def _colored(images: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    grey = torch.tensordot(images.new_tensor(_LUMA), images, dims=([0], [1]))[:, None]
    images = grey + (images - grey) * per_image(p["saturation"], images)
    return images * p["cast"].view(*p["cast"].shape, *(1,) * (images.ndim - 2))


def _filtered(images: Tensor, deviations: Tensor, sharpening: Tensor, radius: int) -> Tensor:
    """Images blurred by their own deviation, or sharpened by the detail that it (or one pixel) takes away, in plane."""
    chosen = ((deviations > 0) | (sharpening > 0)).nonzero()[:, 0]
    if not len(chosen):
        return images
    deviation, sharp, part = deviations[chosen], per_image(sharpening[chosen], images), images[chosen]
    smooth = blurred(part, torch.where(deviation > 0, deviation, 1.0), radius=max(radius, _REACH))
    changed = torch.where(sharp > 0, part + sharp * (part - smooth), smooth)
    return images.index_copy(0, chosen, changed)


MEMBER = Appearance
