"""What spoils a finished picture, one function each: resolution, coding, lens, movement, light, colour, sensor.

Each takes a picture (float32 [channel, height, width] in [0, 1], grey or RGB), an amount, and the :class:`Frame`, and
returns a picture in [0, 1] that keeps its precision: only JPEG rounds, to the 8 bits that it codes. What lies outside
the field of view does not bleed in; the caller puts it back. Filters and grain are measured in *units*: pixels of a
picture whose shorter side has 224, the pictures of ImageNet-C (Hendrycks & Dietterich 2019), so that an amount means
the same at any resolution.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage, signal

from unshift.phantom.camera import LUMA, VEIL, noisy, saturated
from unshift.phantom.shapes import Waves, pixel_grid

Array = np.ndarray
_SIDE = 224
_DISPLAY_GAMMA = 2.2
_PER_PIXEL = 6  # samples of a blur's path along each axis
_LEAST_WEIGHT = np.float32(1e-4)  # share of a filter that must lie inside the field of view


@dataclass(frozen=True)
class Frame:
    """What a degradation knows beside the picture.

    Args:
        inside: field of view, bool [height, width], somewhere true.
        random: for what is drawn; a fresh generator of the same seed draws the same at every amount.
    """

    inside: Array
    random: np.random.Generator

    @property
    def unit(self) -> float:
        """Pixels in a unit."""
        return min(self.inside.shape) / _SIDE


def low_resolution(picture: Array, factor: float, frame: Frame) -> Array:
    """Averaged over areas down to ``1 / factor`` of the pixels along each axis, then interpolated linearly up again.

    ``factor`` counts units in pictures larger than a unit allows for, else pixels: a pixel is the least that is lost.
    """
    height, width = frame.inside.shape
    factor = factor * max(1.0, frame.unit)
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    known = frame.inside.astype(np.float32)
    planes = [_resized(_resized(p, small, Image.Resampling.BOX), known.shape) for p in (*(picture * known), known)]
    return np.clip(np.stack(planes[:-1]) / np.maximum(planes[-1], _LEAST_WEIGHT), 0, 1)


def jpeg(picture: Array, quality: float, frame: Frame) -> Array:
    """Coded as JPEG of this quality and decoded, by Pillow's libjpeg; colour at half the resolution, as is usual."""
    pixels = np.round(picture * 255).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=round(quality), subsampling="4:2:0")
        decoded = np.asarray(Image.open(file))
    return (decoded.reshape(*frame.inside.shape, -1).transpose(2, 0, 1) / np.float32(255)).astype(np.float32)


def haze(picture: Array, share: float, frame: Frame) -> Array:
    """A bright veil takes ``share`` of the light, in swathes of 0.6 to 1.4 times as much (fogged lens, smoke)."""
    x, y = pixel_grid(*frame.inside.shape)
    density = 1 + np.float32(0.4) * np.tanh(Waves.draw(frame.random, 1.5)(x, y))
    veil = VEIL if len(picture) == 3 else VEIL @ LUMA[:, None]
    return np.clip(picture + np.float32(share) * density * (veil[:, None, None] - picture), 0, 1)


def defocus(picture: Array, radius: float, frame: Frame) -> Array:
    """Every point a disc of ``radius`` units."""
    reach = radius * frame.unit
    steps = _samples(reach)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    disc = y * y + x * x <= reach * reach
    return _filtered(picture, _splatted(y[disc], x[disc]), frame)


def motion(picture: Array, length: float, frame: Frame) -> Array:
    """Every point a straight line of ``length`` units, in a direction that is drawn."""
    angle = frame.random.uniform(0, np.pi)
    along = _samples(0.5 * length * frame.unit)
    return _filtered(picture, _splatted(np.sin(angle) * along, np.cos(angle) * along), frame)


def sharpen(picture: Array, share: float, frame: Frame) -> Array:
    """Detail finer than about three units added once more, ``share`` of it: a camera's edge enhancement."""
    steps = _samples(3 * frame.unit)
    weight = np.exp(-0.5 * (steps / frame.unit) ** 2)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    smooth = _filtered(picture, _splatted(y.ravel(), x.ravel(), np.outer(weight, weight).ravel()), frame)
    return np.clip(picture + np.float32(share) * (picture - smooth), 0, 1)


def noise(picture: Array, deviation: float, frame: Frame) -> Array:
    """Sensor noise: ``deviation`` at full light, half of it in the dark; grains of about one unit, at least a pixel."""
    grain = frame.random.standard_normal(picture.shape, dtype=np.float32)
    spread = 0.5 * (frame.unit - 1)
    if spread > 0:
        point = np.zeros(2 * int(4 * spread + 1) + 1)
        point[len(point) // 2] = 1
        grain = ndimage.gaussian_filter(grain, (0, spread, spread), mode="wrap")
        grain /= np.float32((ndimage.gaussian_filter1d(point, spread) ** 2).sum())
    return np.clip(noisy(picture, deviation, grain), 0, 1)


def cast(picture: Array, stops: float, frame: Frame) -> Array:
    """Red ``stops`` brighter and blue darker (below 0 the reverse), brightness of grey kept; grey pictures stay."""
    if len(picture) == 1:
        return picture
    gains = 2 ** (np.float32(stops) * np.array([1, 0.15, -1], np.float32))
    return np.clip(picture * (gains / (LUMA @ gains))[:, None, None], 0, 1)


def any_cast(picture: Array, stops: float, frame: Frame) -> Array:
    """:func:`cast` to the warm or to the cold side, which is drawn."""
    return cast(picture, stops if frame.random.uniform() < 0.5 else -stops, frame)


def exposure(picture: Array, stops: float, frame: Frame) -> Array:
    """``stops`` more light (below 0: less) in a picture that is coded for a display of gamma 2.2; white clips."""
    return np.clip(picture * np.float32(2 ** (stops / _DISPLAY_GAMMA)), 0, 1)


def vignetting(picture: Array, loss: float, frame: Frame) -> Array:
    """Light falls with the squared distance from the middle of the field of view; ``loss`` of it at the farthest."""
    rows, columns = np.nonzero(frame.inside)
    y = np.arange(frame.inside.shape[0], dtype=np.float32)[:, None] - np.float32((rows.min() + rows.max()) / 2)
    x = np.arange(frame.inside.shape[1], dtype=np.float32)[None] - np.float32((columns.min() + columns.max()) / 2)
    distance = y * y + x * x
    farthest = max(distance[frame.inside].max(), np.float32(1))
    return np.clip(picture * (1 - np.float32(loss) * distance / farthest), 0, 1)


def saturation(picture: Array, factor: float, frame: Frame) -> Array:
    """Colours at ``factor`` times their distance from grey; grey pictures stay."""
    return picture if len(picture) == 1 else saturated(picture, factor)


def _resized(plane: Array, size: tuple[int, ...], how: Image.Resampling = Image.Resampling.BILINEAR) -> Array:
    """A float32 plane on another grid; BOX averages over areas, whole or not."""
    return np.asarray(Image.fromarray(plane).resize((size[1], size[0]), how))


def _samples(reach: float) -> Array:
    """Places from ``-reach`` to ``reach``, symmetric, at least ``_PER_PIXEL`` a pixel."""
    return np.linspace(-reach, reach, 2 * int(np.ceil(_PER_PIXEL * reach)) + 1)


def _splatted(y: Array, x: Array, weights: Array | None = None) -> Array:
    """The filter that moves light to these places: each shared linearly by its four pixels; its sum is 1."""
    reach = int(np.ceil(max(np.abs(y).max(), np.abs(x).max()))) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
            np.add.at(kernel, (top + down + reach, left + right + reach), share if weights is None else weights * share)
    return (kernel / kernel.sum()).astype(np.float32)


def _filtered(picture: Array, kernel: Array, frame: Frame) -> Array:
    """Filtered over what lies inside, each pixel divided by the share of the filter that does."""
    known = frame.inside.astype(np.float32)
    weight = signal.fftconvolve(known, kernel, mode="same")
    total = signal.fftconvolve(picture * known, kernel[None], mode="same", axes=(1, 2))
    return np.clip(total / np.maximum(weight, _LEAST_WEIGHT), 0, 1).astype(np.float32)
