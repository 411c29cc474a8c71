"""The fundus world: optic disc and cup as four cameras photograph them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.spatial import cKDTree

from unshift.phantom.camera import CameraKnobs, field_of_view, photograph
from unshift.phantom.knobs import Knobs
from unshift.phantom.shapes import Ellipse, Waves, band, pixel_grid, rotate, soft, wobble
from unshift.phantom.world import Array, Rendering, Seeds, World
from unshift.sample import Task

NEUTRAL = CameraKnobs()
PRESETS = MappingProxyType(
    {
        "camera1": CameraKnobs(vignetting=0.25, noise=0.01, aperture=0.49),
        "camera2": CameraKnobs(
            white_balance=(1.1, 0.8, 0.45), gamma=1.25, vignetting=0.5, uneven=0.3, noise=0.02, aperture=0.46
        ),
        "camera3": CameraKnobs(
            white_balance=(0.8, 1.05, 1.7), exposure=0.35, saturation=0.65, haze=0.15, blur=0.008, aperture=0.62
        ),
        "camera4": CameraKnobs(
            white_balance=(1.0, 0.65, 0.6), exposure=-0.3, uneven=0.7, blur=0.005, noise=0.045, jpeg=2.0, aperture=0.48
        ),
    }
)


@dataclass(frozen=True)
class Retina:
    """One eye as one photograph shows it."""

    disc: Ellipse
    cup: Ellipse
    macula: tuple[float, float]
    atrophy: Ellipse
    vessels: Array
    exudates: Array
    waves: tuple[Waves, ...]
    pigment: Array
    turn: float
    shift: tuple[float, float]

    @classmethod
    def draw(cls, patient: np.random.Generator, frame: np.random.Generator) -> Retina:
        """Anatomy from the patient's generator, the direction of gaze from the frame's."""
        side = float(patient.choice([-1.0, 1.0]))  # left or right eye: the macula lies temporally of the disc
        radius = patient.uniform(0.1, 0.135)
        disc = Ellipse(
            (-side * patient.uniform(0.08, 0.16), 0.5 + patient.normal(0, 0.03)),
            (radius * patient.uniform(0.88, 0.98), radius),
            patient.normal(0, 0.2),
            wobble(patient, 0.03),
        )
        ratio = patient.uniform(0.3, 0.75)
        slack = radius * (1 - ratio) * 0.3
        cup = Ellipse(
            (disc.center[0] + slack * patient.uniform(-1, 1), disc.center[1] + slack * patient.uniform(-1, 1)),
            (disc.radii[0] * ratio * patient.uniform(0.92, 1.0), disc.radii[1] * ratio),
            disc.angle,
            wobble(patient, 0.05),
        )
        spread = patient.uniform(0.0, 0.35) * radius
        atrophy = Ellipse((disc.center[0] + side * spread, disc.center[1]), disc.radii, disc.angle)
        macula = (disc.center[0] + side * 4.2 * radius * patient.uniform(0.9, 1.0), disc.center[1] + 0.03)
        return cls(
            disc=disc,
            cup=cup,
            macula=macula,
            atrophy=atrophy,
            vessels=_draw_vessels(patient, disc.center, side),
            exudates=patient.uniform((-0.4, 0.1), (0.4, 0.9), size=(int(patient.integers(0, 14)), 2)),
            waves=tuple(Waves.draw(patient, f, count=12) for f in (2, 8, 20)),
            pigment=(np.array([[0.78], [0.38], [0.19]]) * (1 + 0.08 * patient.standard_normal((3, 1)))).astype("f4"),
            turn=frame.normal(0, 0.06),
            shift=(frame.normal(0, 0.02), frame.normal(0, 0.02)),
        )

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Image coordinates -> coordinates of the retina."""
        u, v = rotate(x - np.float32(self.shift[0]), y - np.float32(0.5 + self.shift[1]), self.turn)
        return u, v + np.float32(0.5)

    def label_map(self, x: Array, y: Array) -> Array:
        """0 background, 1 rim, 2 cup; the cup counts within the disc only."""
        u, v = self.local(x, y)
        disc = self.disc.level(u, v) <= 1
        return disc.astype(np.int64) + (disc & (self.cup.level(u, v) <= 1))

    def scene(self, x: Array, y: Array) -> Array:
        """Radiance, float32 [3, height, width]."""
        u, v = self.local(x, y)
        coarse, middle, fine = (wave(u, v) for wave in self.waves)
        mottled = 1 + np.float32(0.07) * coarse + np.float32(0.04) * middle + np.float32(0.03) * fine
        choroid = band(middle, 0.25) * np.float32(0.07)
        color = self.pigment[:, :, None] * (mottled + choroid)
        color = self._macula_and_exudates(u, v, color)
        level = self.disc.level(u, v)
        pale = np.float32(0.35) * soft(self.atrophy.level(u, v) - 1.1, 0.1)
        color = _mix(color, (0.86, 0.60, 0.38), pale)
        glow = np.float32(0.12) * np.exp(-np.clip(level - 1, 0, None) / np.float32(0.5))
        color = _mix(color, (0.92, 0.62, 0.38), glow)
        color = _mix(color, (0.91, 0.60, 0.36), soft(level - 1, 0.07) * (1 + np.float32(0.04) * fine))
        color = _mix(color, (0.99, 0.88, 0.66), soft(self.cup.level(u, v) - 1, 0.12) * soft(level - 1, 0.05))
        return np.clip(self._blood(u, v, color), 0, 1).astype(np.float32)

    def _macula_and_exudates(self, u: Array, v: Array, color: Array) -> Array:
        from_macula = np.hypot(u - np.float32(self.macula[0]), v - np.float32(self.macula[1]))
        color = color * (1 - np.float32(0.35) * np.exp(-((from_macula / np.float32(0.09)) ** 2)))
        for place in self.exudates:
            spot = band(np.hypot(u - np.float32(place[0]), v - np.float32(place[1])), 0.011)
            color = _mix(color, (0.93, 0.80, 0.45), np.float32(0.7) * spot)
        return color

    def _blood(self, u: Array, v: Array, color: Array) -> Array:
        tree = cKDTree(self.vessels[:, :2])
        distance, nearest = tree.query(np.stack([u, v], axis=-1).reshape(-1, 2), distance_upper_bound=0.04)
        found = np.isfinite(distance)
        width = np.full(distance.shape, 1e-3)
        width[found] = self.vessels[nearest[found], 2]
        strength = np.where(found, np.clip(1.25 - distance / width, 0, 1), 0).reshape(u.shape).astype(np.float32)
        return color * (1 - strength * np.array([0.3, 0.52, 0.45], np.float32)[:, None, None])


def _draw_vessels(generator: np.random.Generator, start: tuple[float, float], side: float) -> Array:
    """Points (u, v, half-width) along the arcades and their branches, from the disc outward."""
    points: list[tuple[float, float, float]] = []
    turn = 0 if side > 0 else np.pi
    for pole in (-1, 1):
        for heading, bend, width in ((1.25, -1.9, 0.0115), (1.35, -1.6, 0.009), (2.2, 0.7, 0.008), (2.6, 0.9, 0.006)):
            angle = turn + side * pole * (heading + generator.normal(0, 0.12))
            curve = side * pole * (bend + generator.normal(0, 0.25))
            _grow(generator, points, (start[0], start[1]), angle, curve=curve, width=width)
    return np.array(points)


def _grow(
    generator: np.random.Generator,
    points: list[tuple[float, float, float]],
    place: tuple[float, float],
    angle: float,
    *,
    curve: float,
    width: float,
) -> None:
    """One vessel: steps of a slowly turning walk that thins and branches."""
    x, y = place
    step = 0.004
    for _ in range(round(0.62 / step)):
        x, y = x + step * np.cos(angle), y + step * np.sin(angle)
        angle += step * (curve + generator.normal(0, 12))
        width *= 0.9965
        points.append((x, y, width))
        if width > 0.0035 and generator.random() < 0.014:
            fork = angle + generator.choice([-1, 1]) * generator.uniform(0.5, 0.9)
            _grow(generator, points, (x, y), fork, curve=0.3 * curve, width=width * 0.62)
            width *= 0.93
        if abs(x) > 0.75 or abs(y - 0.5) > 0.75 or width < 0.0015:
            return


def _mix(color: Array, other: tuple[float, float, float], share: Array) -> Array:
    return color + share * (np.array(other, np.float32)[:, None, None] - color)


class Fundus(World):
    """Eyes in colour: neuroretinal rim and cup; the disc is both."""

    presets = PRESETS
    size = (128, 128)

    def task(self, dimensions: int) -> Task:
        """Three channels; rim and cup, scored as disc (rim and cup) and cup."""
        regions = {"disc": frozenset({1, 2}), "cup": frozenset({2})}
        return Task(channels=3, classes=("background", "rim", "cup"), regions=regions, spatial_dims=dimensions)

    def render(self, seeds: Seeds, knobs: Knobs, size: tuple[int, ...]) -> Rendering:
        """One photograph: image [3, height, width] in [0, 1] and 0 outside the aperture."""
        assert isinstance(knobs, CameraKnobs)
        frame = np.random.default_rng(seeds.frame)
        retina = Retina.draw(np.random.default_rng(seeds.patient), frame)
        x, y = pixel_grid(*size)
        seen = field_of_view(size[0], size[1], knobs.aperture)
        return Rendering(photograph(retina.scene(x, y), knobs, frame), retina.label_map(x, y), seen)
