"""Soft shapes and smooth random fields, evaluated at coordinates so that one anatomy can be seen on any grid.

Coordinates are in units of the image's height: ``y`` (or depth) from 0 at the top to 1 at the bottom, ``x`` with 0 in
the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def pixel_grid(height: int, width: int) -> tuple[Array, Array]:
    """Coordinates (x, y) of the pixel centres, float32 [height, width]."""
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


def rotate(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates in a frame turned by ``angle`` (radians)."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def soft(signed: Array, width: float) -> Array:
    """1 where ``signed`` is well below 0, 0 well above, a smooth edge of ``width`` between."""
    return np.clip(0.5 - signed / np.float32(2 * width), 0, 1)


def band(signed: Array, width: float) -> Array:
    """A smooth ridge of half-width ``width`` around ``signed`` = 0, height 1."""
    t = signed / np.float32(width)
    return np.exp(-t * t)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse turned by ``angle``; ``radii`` along its own axes; ``wobble`` makes its outline less regular."""

    center: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0
    wobble: tuple[tuple[int, float, float], ...] = ()

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Coordinates along the ellipse's own axes."""
        return rotate(x - np.float32(self.center[0]), y - np.float32(self.center[1]), self.angle)

    def level(self, x: Array, y: Array) -> Array:
        """0 at the centre, 1 on the outline, growing outward."""
        u, v = self.local(x, y)
        u, v = u / np.float32(self.radii[0]), v / np.float32(self.radii[1])
        level = np.sqrt(u * u + v * v)
        if self.wobble:
            turn = np.arctan2(v, u)
            level = level / (1 + sum(np.float32(a) * np.cos(k * turn + np.float32(p)) for k, a, p in self.wobble))
        return level

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the outline to first order (exact for a circle), negative inside."""
        return (self.level(x, y) - 1) * np.float32(min(self.radii)) if self.wobble else self._distance(x, y)

    def _distance(self, x: Array, y: Array) -> Array:
        u, v = self.local(x, y)
        a, b = np.float32(self.radii[0]), np.float32(self.radii[1])
        level = np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-6)
        slope = np.sqrt((u / (a * a)) ** 2 + (v / (b * b)) ** 2) / level + np.float32(1e-6)
        return (level - 1) / slope

    def normal(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Unit outward normal of the ellipse through each point."""
        u, v = self.local(x, y)
        u, v = u / np.float32(self.radii[0] ** 2), v / np.float32(self.radii[1] ** 2)
        length = np.sqrt(u * u + v * v) + np.float32(1e-6)
        return rotate(u / length, v / length, -self.angle)


def wobble(generator: np.random.Generator, amount: float, orders: tuple[int, ...] = (2, 3, 4, 5)) -> tuple:
    """Random harmonics of an outline, weaker with their order."""
    return tuple((k, float(generator.normal(0, amount / k)), float(generator.uniform(0, 2 * np.pi))) for k in orders)


@dataclass(frozen=True)
class Waves:
    """A smooth random field of mean 0 and deviation about 1: a sum of plane waves of about ``1 / frequency``."""

    vectors: Array
    phases: Array

    @classmethod
    def draw(cls, generator: np.random.Generator, frequency: float, count: int = 6, axes: int = 2) -> Waves:
        """``count`` waves with isotropic directions and frequencies spread around ``frequency`` (cycles per unit)."""
        directions = generator.normal(size=(count, axes))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        speeds = frequency * generator.uniform(0.5, 1.5, size=(count, 1))
        phases = generator.uniform(0, 2 * np.pi, size=count)
        return cls((2 * np.pi * speeds * directions).astype(np.float32), phases.astype(np.float32))

    def __call__(self, *coordinates: Array) -> Array:
        """Values at the coordinates, float32."""
        total = sum(
            np.cos(sum(k * c for k, c in zip(vector, coordinates, strict=True)) + phase)
            for vector, phase in zip(self.vectors, self.phases, strict=True)
        )
        return np.asarray(total * np.float32(np.sqrt(2 / len(self.phases))))
