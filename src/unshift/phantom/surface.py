"""Wet tissue in front of a lamp: relief, shading with fall-off, specular highlights, vessels."""

from __future__ import annotations

import numpy as np

from unshift.phantom.shapes import Waves, band

Array = np.ndarray


def bump(level: Array, height: float) -> Array:
    """The relief of a rounded thing whose outline is at ``level`` 1."""
    return np.float32(height) * np.clip(1 - level * level, 0, 1) ** np.float32(0.75)


def shaded(color: Array, relief: Array, depth: Array, *, wet: Array, wetness: float) -> Array:
    """Tissue lit by a lamp at the camera.

    Args:
        color: albedo, float32 [3, height, width].
        relief: height toward the camera in image heights, float32 [height, width].
        depth: distance from the lamp relative to the nearest tissue, at least 1; light falls with its square.
        wet: smooth random field of deviation 1; a film of fluid mirrors the lamp where it is high.
        wetness: strength of the highlights.
    """
    step = np.float32(relief.shape[0])
    dy, dx = np.gradient(relief)
    facing = 1 / np.sqrt(1 + (dx * step) ** 2 + (dy * step) ** 2)
    light = facing / (depth * depth)
    glint = np.clip((wet - 2.1) / 0.5, 0, 1) * np.clip((facing - 0.9) / 0.08, 0, 1)
    return color * light + np.float32(wetness) * glint / depth


def vessels(u: Array, v: Array, wave: Waves, width: float) -> Array:
    """A net of thin winding lines, strength 0 … 1: where a smooth random field crosses 0."""
    return band(wave(u, v), width)
