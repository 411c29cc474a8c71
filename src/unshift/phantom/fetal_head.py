"""Anatomy of the ultrasound world: a fetal head among fluid, placenta, uterine wall, limbs, trunk and mother's tissue.

The other bright curves and round things are there so that neither "a bright arc" nor "a round thing" is the head: a
network must look at texture and contrast, which is what vendors change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unshift.phantom.shapes import Ellipse, Waves, band, rotate, soft, wobble

Array = np.ndarray


@dataclass(frozen=True)
class Echoes:
    """What the beams meet, each [depth, line].

    Args:
        diffuse: echo level of the scatterers in dB; 0 is the skull struck head-on.
        specular: amplitude of the smooth surfaces, which depends on the angle they are struck at.
        bone: share of a skull's or rib's thickness met per unit of length; casts the acoustic shadow.
    """

    diffuse: Array
    specular: Array
    bone: Array


@dataclass(frozen=True)
class FetalHead:
    """One patient as one frame shows it; ``turn`` is the probe's angle to the uterus."""

    head: Ellipse
    skull: float
    cavity: Ellipse
    placenta: Ellipse
    trunk: Ellipse
    limbs: tuple[Ellipse, ...]
    layers: tuple[tuple[float, float, float], ...]
    texture: tuple[Waves, ...]
    levels: dict[str, float]
    turn: float
    push: tuple[float, float]

    @classmethod
    def draw(cls, patient: np.random.Generator, frame: np.random.Generator) -> FetalHead:
        """Anatomy from the patient's generator, the probe's angle and pressure from the frame's."""
        head = _draw_head(patient)
        room = patient.uniform(1.12, 1.75)  # little or much amniotic fluid around the head
        cavity = Ellipse(
            (head.center[0] + patient.normal(0, 0.06), head.center[1] + patient.normal(0, 0.04)),
            (max(head.radii) * room * patient.uniform(1.0, 1.3), max(head.radii) * room * patient.uniform(0.85, 1.1)),
            patient.uniform(-0.5, 0.5),
            wobble(patient, 0.12),
        )
        side = patient.uniform(0, 2 * np.pi)
        placenta = _beside(cavity, side, 0.95, (patient.uniform(0.2, 0.34), patient.uniform(0.1, 0.18)), patient)
        trunk_side = head.angle + patient.choice([0, np.pi]) + patient.normal(0, 0.5)
        trunk = _beside(head, trunk_side, 1.0, (1, 1), patient, gap=True)
        limbs = tuple(_draw_limb(patient, head, cavity) for _ in range(patient.integers(1, 4)))
        return cls(
            head=head,
            skull=patient.uniform(0.007, 0.012),
            cavity=cavity,
            placenta=placenta,
            trunk=trunk,
            limbs=limbs,
            layers=_draw_layers(patient),
            texture=tuple(Waves.draw(patient, f, count=5) for f in (3, 9, 16)),
            levels={name: level + patient.normal(0, 2.0) for name, level in _LEVELS.items()},
            turn=frame.normal(0, 0.16),
            push=(frame.normal(0, 0.025), frame.normal(0, 0.02)),
        )

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Probe coordinates -> coordinates of the uterus, which lies turned and pushed under the probe."""
        u, v = rotate(x - np.float32(self.push[0]), y - np.float32(0.5 + self.push[1]), self.turn)
        return u, v + np.float32(0.5)

    def label_map(self, x: Array, y: Array) -> Array:
        """1 within the outer rim of the skull, int64."""
        return (self.head.level(*self.local(x, y)) <= 1).astype(np.int64)

    def echoes(self, x: Array, y: Array, direction: tuple[Array, Array]) -> Echoes:
        """What beams of the given ``direction`` meet at x, y."""
        u, v = self.local(x, y)
        beam = rotate(*direction, self.turn)
        coarse, middle, fine = (wave(u, v) for wave in self.texture)
        cavity, inside = self.cavity.distance(u, v), self.head.distance(u, v)
        level = self._around(u, v, cavity, coarse, middle)
        level = self._near_field(x, y, level, coarse)
        level, wall = self._fetus(u, v, level, cavity=cavity, middle=middle, beam=beam)
        in_head = soft(inside, 0.006)
        level = level + in_head * (self._brain(u, v, coarse, middle, fine) - level)
        rim = band(inside + np.float32(self.skull), self.skull)
        struck = self._struck(self.head, u, v, beam)
        level = level + rim * (np.float32(self.levels["skull"]) - level)
        sutures = 1 - np.float32(0.55) * np.clip(middle, 0, 1)
        patches = np.clip(0.6 + np.float32(0.6) * middle, 0, 2)
        uterus = band(cavity, 0.005) * self._struck(self.cavity, u, v, beam) ** 4 * patches * (inside > 0)
        mirrors = np.float32(0.9) * rim * struck**4 * sutures + np.float32(0.12) * uterus
        specular = mirrors + wall + self._midline(u, v, beam, middle)
        bone = rim + sum(band(limb.distance(u, v), 0.012) for limb in self.limbs)
        return Echoes(level, specular, bone)

    @staticmethod
    def _struck(surface: Ellipse, u: Array, v: Array, beam: tuple[Array, Array]) -> Array:
        """|cos| of the angle between beam and surface normal: a mirror answers only when struck head-on."""
        nu, nv = surface.normal(u, v)
        return np.abs(nu * beam[0] + nv * beam[1])

    def _around(self, u: Array, v: Array, cavity: Array, coarse: Array, middle: Array) -> Array:
        """Mother's tissue, placenta and amniotic fluid."""
        tissue = np.float32(self.levels["tissue"]) + 5 * coarse + 3 * middle
        muscle = band(cavity - np.float32(0.05), 0.04)
        tissue = tissue - 4 * muscle
        placenta = soft(self.placenta.distance(u, v), 0.01)
        fluid = soft(cavity, 0.008) * (1 - placenta)
        tissue = tissue + placenta * (np.float32(self.levels["placenta"]) + 1.5 * middle - tissue)
        return tissue + fluid * (np.float32(self.levels["fluid"]) - tissue)

    def _near_field(self, x: Array, y: Array, level: Array, coarse: Array) -> Array:
        """Skin, fat and muscle: bright and dark layers along the probe's face."""
        wavy = y + np.float32(0.012) * coarse
        for depth, width, height in self.layers:
            level = level + np.float32(height) * band(wavy - np.float32(depth), width)
        return level

    def _fetus(
        self, u: Array, v: Array, level: Array, *, cavity: Array, middle: Array, beam: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Trunk and limbs, which lie in the fluid, and the echoes of their surfaces."""
        free = soft(cavity, 0.01)
        trunk = self.trunk.distance(u, v)
        body = soft(trunk, 0.008) * free
        level = level + body * (np.float32(self.levels["trunk"]) + 3 * middle - level)
        surface = band(trunk, 0.006) * free * self._struck(self.trunk, u, v, beam) ** 4 * np.float32(0.12)
        for limb in self.limbs:
            distance = limb.distance(u, v)
            flesh = soft(distance - np.float32(0.03), 0.01) * free
            level = level + flesh * (np.float32(self.levels["trunk"]) - level)
            struck = self._struck(limb, u, v, beam)
            surface = surface + band(distance, 0.008) * free * (np.float32(0.05) + np.float32(0.5) * struck**4)
        return level, surface

    def _brain(self, u: Array, v: Array, coarse: Array, middle: Array, fine: Array) -> Array:
        """Brain with ventricles, choroid plexus, thalami and cavum, in dB."""
        a, b = self.head.radii
        s, t = self.head.local(u, v)
        s, t = s / np.float32(a), t / np.float32(b)
        level = np.float32(self.levels["brain"]) + 3.5 * middle + 3.0 * fine + 1.5 * coarse
        for sign in (-1, 1):
            ventricle = soft(np.hypot((s + 0.25) / 0.42, (t - sign * 0.42) / 0.2) - 1, 0.15)
            choroid = soft(np.hypot((s + 0.3) / 0.26, (t - sign * 0.4) / 0.11) - 1, 0.25)
            thalamus = soft(np.hypot((s - 0.08) / 0.2, (t - sign * 0.16) / 0.13) - 1, 0.2)
            level = level - 12 * ventricle + 16 * choroid - 5 * thalamus
        cavum = soft(np.maximum(np.abs(s - 0.48) - 0.12, np.abs(t) - 0.09), 0.03)
        return np.asarray(level - 13 * cavum)

    def _midline(self, u: Array, v: Array, beam: tuple[Array, Array], middle: Array) -> Array:
        """The falx: a thin mirror along the long axis, interrupted by the cavum's two walls."""
        a, b = self.head.radii
        s, t = self.head.local(u, v)
        s = s / np.float32(a)
        normal = rotate(np.zeros(1, np.float32), np.ones(1, np.float32), -self.head.angle)
        struck = np.abs(normal[0] * beam[0] + normal[1] * beam[1])
        in_cavum = soft(np.abs(s - 0.48) - 0.13, 0.02)
        falx = band(t, 0.005) * (1 - in_cavum) + band(np.abs(t) - 0.09 * b, 0.004) * in_cavum
        reach = soft(np.abs(s) - 0.86, 0.05)
        return falx * reach * (np.float32(0.1) + np.float32(0.4) * struck) * np.clip(1 + 0.4 * middle, 0, 2)


_LEVELS = {
    "skull": -22.0,
    "tissue": -34.0,
    "placenta": -30.0,
    "fluid": -72.0,
    "brain": -38.0,
    "trunk": -33.0,
}


def _draw_head(generator: np.random.Generator) -> Ellipse:
    long = generator.uniform(0.19, 0.29)
    return Ellipse(
        (generator.uniform(-0.13, 0.13), generator.uniform(0.44, 0.62)),
        (long, long * generator.uniform(0.7, 0.86)),
        generator.uniform(0, np.pi),
    )


def _beside(
    around: Ellipse,
    side: float,
    far: float,
    radii: tuple[float, float],
    generator: np.random.Generator,
    *,
    gap: bool = False,
) -> Ellipse:
    """An ellipse that touches ``around`` from outside (``gap``) or lies on its outline, at direction ``side``."""
    reach = float(np.mean(around.radii)) * far
    if gap:
        size = reach * generator.uniform(0.75, 1.15)
        radii, reach = (size, size * generator.uniform(0.75, 1.0)), reach + size * generator.uniform(0.95, 1.2)
    center = (around.center[0] + reach * np.cos(side), around.center[1] + reach * np.sin(side))
    return Ellipse(center, radii, side + np.pi / 2, wobble(generator, 0.1))


def _draw_limb(generator: np.random.Generator, head: Ellipse, cavity: Ellipse) -> Ellipse:
    side = generator.uniform(0, 2 * np.pi)
    reach = (max(head.radii) + float(np.mean(cavity.radii))) / 2 * generator.uniform(1.0, 1.25)
    center = (head.center[0] + reach * np.cos(side), head.center[1] + reach * np.sin(side))
    return Ellipse(center, (generator.uniform(0.03, 0.08), generator.uniform(0.008, 0.02)), generator.uniform(0, np.pi))


def _draw_layers(generator: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    depths = np.cumsum(generator.uniform(0.02, 0.05, size=5))
    return tuple((float(d), float(generator.uniform(0.006, 0.014)), float(generator.uniform(-8, 14))) for d in depths)
