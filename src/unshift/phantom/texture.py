"""Made-up textures with the spectrum of photographs: content images where no folder of photographs is at hand.

The dead-leaves model: opaque shapes whose radii follow a power law (density r^-3) hide one another, which gives the
1/f² power spectrum of natural images, their sharp edges and their flat regions (Lee, Mumford & Huang 2001). Ours adds
colour from a small palette, 1/f noise and gratings on the leaves, uneven light, and now and then no leaves at all.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unshift.phantom.shapes import Waves, rotate
from unshift.randomness import numpy_generator

Array = np.ndarray
_LEAST_RADIUS = 1.5
_MOST_LEAVES = 4000
_PIXELS_PER_LEAF = 75
_BARE = 0.15
"""Share of textures without leaves: 1/f noise alone."""


def texture(size: tuple[int, int], *, seed: int) -> Float[Tensor, "3 height width"]:
    """One texture, float32 in [0, 1]; a pure function of its arguments.

    Args:
        size: height and width, each at least 1.
        seed: decides everything.
    """
    random = numpy_generator(seed, "texture")
    palette = _palette(random)
    fields = np.stack([one_over_f(random, size) for _ in range(2)])
    canvas = palette[0][:, None, None] + 0.25 * fields[0] * _tint(random)[:, None, None]
    if random.uniform() > _BARE:
        _cover(canvas, fields, palette, random)
    else:
        canvas = canvas + 0.2 * fields[1] * (palette[1] - palette[0])[:, None, None]
    light = 1 + random.uniform(0, 0.6) * _light(random, size)
    curve = np.float32(2 ** random.uniform(-0.5, 0.5))
    return torch.from_numpy((np.clip(canvas * light, 0, 1) ** curve).astype(np.float32))


def one_over_f(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """Noise whose amplitude falls as 1/frequency, periodic, mean 0 and deviation 1 (0 of a single pixel), float32."""
    vertical, horizontal = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    radius = np.hypot(vertical, horizontal)
    amplitude = np.divide(1, radius, out=np.zeros_like(radius), where=radius > 0)
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal(size)) * amplitude, s=size)
    return (noise / max(noise.std(), 1e-6)).astype(np.float32)


def _palette(random: np.random.Generator, colors: int = 6) -> Array:
    """Colours of one scene: brightnesses over the whole range around one hue, float32 [colors, 3]."""
    brightness = random.uniform(0.02, 0.98, (colors, 1))
    return np.clip(brightness + random.normal(0, 0.1, (1, 3)) + random.normal(0, 0.08, (colors, 3)), 0, 1).astype("f4")


def _tint(random: np.random.Generator) -> Array:
    return (1 + random.normal(0, 0.15, 3)).astype(np.float32)


def _light(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """Light that falls off to one side, -1 … 1."""
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None]
    return ((np.sin(angle) * y + np.cos(angle) * x) / np.sqrt(2)).astype(np.float32)


def _cover(canvas: Array, fields: Array, palette: Array, random: np.random.Generator) -> None:
    """Lay leaves on the canvas, the later over the earlier: some large ones, then all sizes."""
    height, width = canvas.shape[1:]
    side = min(height, width)
    count = min(_MOST_LEAVES, height * width // _PIXELS_PER_LEAF)
    radii = np.concatenate([random.uniform(0.1, 0.45, 24) * side, _radii(random, count, 0.35 * side)])
    centers = random.uniform(0, 1, (len(radii), 2)) * (height, width)
    colors = palette[random.integers(len(palette), size=len(radii))] + random.normal(0, 0.06, (len(radii), 3))
    contrasts = random.uniform(0, 0.12, len(radii))
    is_striped = random.uniform(size=len(radii)) < 0.15
    for index, (radius, center) in enumerate(zip(radii, centers, strict=True)):
        rows, columns = (_span(c, 1.5 * radius, n) for c, n in zip(center, (height, width), strict=True))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(center[0])
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None] - np.float32(center[1])
        grain = fields[index % 2, rows, columns]
        if is_striped[index]:
            grain = 1.5 * Waves.draw(random, 1 / random.uniform(3, 12), count=1)(x, y)
        leaf = colors[index].astype(np.float32)[:, None, None] + np.float32(contrasts[index]) * grain
        part = canvas[:, rows, columns]
        part += _outline(random, x, y, radius) * (leaf - part)


def _radii(random: np.random.Generator, count: int, greatest: float) -> Array:
    """Radii in pixels with density r^-3 between the least and the greatest."""
    high, low = _LEAST_RADIUS**-2.0, max(greatest, _LEAST_RADIUS) ** -2.0
    return np.sqrt(1 / (low + random.uniform(0, 1, count) * (high - low)))


def _span(center: float, reach: float, size: int) -> slice:
    return slice(max(0, int(center - reach)), min(size, int(center + reach) + 2))


def _outline(random: np.random.Generator, x: Array, y: Array, radius: float) -> Array:
    """1 inside a leaf, 0 outside, an edge of one pixel: an ellipse, or a box with round corners."""
    u, v = rotate(x, y, random.uniform(0, np.pi))
    stretch = np.float32(random.uniform(0.5, 1))
    u, v = np.abs(u), np.abs(v / stretch)
    level = np.maximum(u, v) if random.uniform() < 0.3 else np.sqrt(u * u + v * v)
    return np.clip(np.float32(radius) - level + 0.5, 0, 1)
