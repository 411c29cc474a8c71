"""Anatomy of the organs world: an abdomen as tissue indices on any grid.

Body coordinates: ``x`` from -0.5 (the patient's right, left in the picture) to 0.5, ``y`` from -0.5 (front) to 0.5
(back), ``z`` from 0 (feet end) to 1 (head end) of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unshift.phantom.shapes import Waves

Array = np.ndarray
TISSUES = (
    "air",
    "fat",
    "muscle",
    "liver",
    "right_kidney",
    "left_kidney",
    "spleen",
    "bone",
    "blood",
    "bowel",
    "lung",
)
ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")


@dataclass(frozen=True)
class Ellipsoid:
    """Center and half-axes (x, y, z) of ``tissue``, turned in the axial plane; ``rough`` ripples its surface."""

    tissue: str
    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    angle: float = 0.0
    rough: float = 0.0

    def inside(self, x: Array, y: Array, z: Array, ripple: Array) -> Array:
        """Whether each point lies within; ``ripple`` is a smooth field of deviation 1."""
        cx, cy, cz = (np.float32(c) for c in self.center)
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u = ((x - cx) * c + (y - cy) * s) / np.float32(self.radii[0])
        v = ((y - cy) * c - (x - cx) * s) / np.float32(self.radii[1])
        w = (z - cz) / np.float32(self.radii[2])
        return u * u + v * v + w * w <= 1 + np.float32(self.rough) * ripple


@dataclass(frozen=True)
class Abdomen:
    """One patient: what is where, painted in order, so that a later part covers an earlier one."""

    parts: tuple[Ellipsoid, ...]
    ripple: Waves
    texture: Waves

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Abdomen:
        """One patient's sizes, places and shapes."""
        parts = (*_wall(generator), *_hollow(generator), *_organs(generator), *_axis(generator))
        return cls(parts, Waves.draw(generator, 3.0, count=5, axes=3), Waves.draw(generator, 22.0, count=8, axes=3))

    def tissues(self, x: Array, y: Array, z: Array) -> Array:
        """Index into :data:`TISSUES` at every point of the broadcast grid, uint8."""
        ripple = self.ripple(*np.broadcast_arrays(x, y, z))
        found = np.zeros(ripple.shape, np.uint8)
        for part in self.parts:
            found[part.inside(x, y, z, ripple)] = TISSUES.index(part.tissue)
        return found


def label_map(tissues: Array) -> Array:
    """Tissue indices -> labels: 1 liver, 2 right kidney, 3 left kidney, 4 spleen; int64."""
    table = np.zeros(len(TISSUES), np.int64)
    for label, organ in enumerate(ORGANS, start=1):
        table[TISSUES.index(organ)] = label
    return table[tissues]


def _wall(generator: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Fat, the muscles of the wall, the fat between the organs."""
    wide, deep, thick = generator.uniform(0.42, 0.47), generator.uniform(0.3, 0.36), generator.uniform(0.02, 0.05)
    return (
        Ellipsoid("fat", (0, 0, 0.5), (wide, deep, 3)),
        Ellipsoid("muscle", (0, 0, 0.5), (wide - thick, deep - thick, 3), 0, 0.03),
        Ellipsoid("fat", (0, -0.01, 0.5), (wide - thick - 0.03, deep - thick - 0.035, 3), 0, 0.05),
    )


def _hollow(generator: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Stomach and bowel loops (bright or dark round things that are no organ of the task)."""
    loops = tuple(
        Ellipsoid(
            "bowel",
            (generator.uniform(-0.2, 0.25), generator.uniform(-0.2, 0.02), generator.uniform(0.0, 0.5)),
            (generator.uniform(0.04, 0.08), generator.uniform(0.03, 0.06), generator.uniform(0.06, 0.14)),
            generator.uniform(0, np.pi),
            0.2,
        )
        for _ in range(14)
    )
    stomach = Ellipsoid("bowel", _near(generator, (0.13, -0.13, 0.72)), (0.12, 0.075, 0.2), 0.4, 0.15)
    return (*loops, stomach)


def _organs(generator: np.random.Generator) -> tuple[Ellipsoid, ...]:
    def kidney(name: str, side: int, z: float) -> Ellipsoid:
        size = generator.uniform(0.85, 1.15)
        center = _near(generator, (side * 0.17, 0.13, z))
        return Ellipsoid(name, center, (0.075 * size, 0.056 * size, 0.3 * size), side * 0.6, 0.12)

    def sinus(kidney: Ellipsoid) -> Ellipsoid:
        shift = -np.sign(kidney.center[0]) * 0.045
        center = (kidney.center[0] + shift, kidney.center[1] - 0.02, kidney.center[2])
        return Ellipsoid("fat", center, (0.03, 0.02, 0.08))

    big = generator.uniform(0.9, 1.12)
    right, left = kidney("right_kidney", -1, 0.33), kidney("left_kidney", 1, 0.4)
    liver = _near(generator, (-0.19, -0.01, 0.72))
    lobe = _near(generator, (-0.04, -0.13, 0.78))
    spleen = _near(generator, (0.29, 0.08, 0.68))
    return (
        Ellipsoid("lung", (-0.17, 0.03, 1.06), (0.2, 0.2, 0.14), 0, 0.05),
        Ellipsoid("lung", (0.2, 0.03, 1.06), (0.18, 0.2, 0.16), 0, 0.05),
        Ellipsoid("spleen", spleen, (0.075 * big, 0.12 * big, 0.22 * big), -0.35, 0.15),
        Ellipsoid("liver", liver, (0.165 * big, 0.2 * big, 0.32 * big), 0.3, 0.15),
        Ellipsoid("liver", lobe, (0.17 * big, 0.08 * big, 0.18 * big), 0.15, 0.15),
        Ellipsoid("blood", (liver[0] + 0.06, liver[1], liver[2]), (0.016, 0.06, 0.03), 0.5),
        right,
        sinus(right),
        left,
        sinus(left),
    )


def _axis(generator: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Spine, back muscles, aorta, inferior vena cava."""
    back = generator.uniform(0.15, 0.17)
    return (
        Ellipsoid("muscle", (-0.085, back + 0.055, 0.5), (0.055, 0.05, 3)),
        Ellipsoid("muscle", (0.085, back + 0.055, 0.5), (0.055, 0.05, 3)),
        Ellipsoid("bone", (0, back, 0.5), (0.05, 0.042, 3), 0, 0.08),
        Ellipsoid("bone", (0, back + 0.08, 0.5), (0.016, 0.045, 3)),
        Ellipsoid("blood", (0.015, back - 0.065, 0.5), (0.022, 0.022, 3)),
        Ellipsoid("blood", (-0.05, back - 0.06, 0.5), (0.027, 0.02, 3)),
    )


def _near(generator: np.random.Generator, place: tuple[float, float, float]) -> tuple[float, float, float]:
    jitter = generator.normal(0, (0.012, 0.012, 0.03))
    return tuple(float(p + j) for p, j in zip(place, jitter, strict=True))  # type: ignore[return-value]
