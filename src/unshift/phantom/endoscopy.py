"""The endoscopy world: an open throat (tonsils, uvula, tongue, back wall) through several colour cameras."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from unshift.phantom.camera import CameraKnobs, field_of_view, photograph
from unshift.phantom.knobs import Knobs
from unshift.phantom.shapes import Ellipse, Waves, pixel_grid, rotate, soft, wobble
from unshift.phantom.surface import bump, shaded, vessels
from unshift.phantom.world import Array, Rendering, Seeds, World
from unshift.sample import Task

NEUTRAL = CameraKnobs()
PRESETS = MappingProxyType(
    {
        "clinic": CameraKnobs(exposure=0.1, vignetting=0.15, noise=0.01, jpeg=0.15),
        "old_scope": CameraKnobs(
            white_balance=(1.0, 0.92, 0.6),
            gamma=1.3,
            saturation=0.75,
            vignetting=0.6,
            blur=0.012,
            noise=0.04,
            jpeg=0.8,
            aperture=0.5,
        ),
        "phone": CameraKnobs(
            white_balance=(0.85, 1.0, 1.25),
            exposure=0.25,
            gamma=0.75,
            saturation=1.3,
            uneven=0.5,
            blur=0.004,
            noise=0.025,
            jpeg=2.5,
        ),
        "fogged": CameraKnobs(white_balance=(0.95, 1.0, 1.1), haze=0.45, saturation=0.85, blur=0.009, noise=0.02),
    }
)
_LABELS = MappingProxyType({"tonsil": 1, "uvula": 2, "tongue": 3, "back_wall": 4})


@dataclass(frozen=True)
class Throat:
    """One patient's throat as one frame shows it."""

    opening: Ellipse
    tonsils: tuple[Ellipse, Ellipse]
    uvula: tuple[Ellipse, Ellipse]
    tongue: Ellipse
    waves: tuple[Waves, ...]
    tint: Array
    coating: float
    turn: float
    shift: tuple[float, float]
    zoom: float

    @classmethod
    def draw(cls, patient: np.random.Generator, frame: np.random.Generator) -> Throat:
        """Anatomy from the patient's generator, the camera's pose from the frame's."""
        wide, high = patient.uniform(0.22, 0.29), patient.uniform(0.22, 0.28)
        size = patient.uniform(0.055, 0.11)  # small to kissing tonsils
        tonsils = tuple(
            Ellipse(
                (side * (wide - 0.25 * size + patient.normal(0, 0.008)), 0.56 + patient.normal(0, 0.02)),
                (size * patient.uniform(0.85, 1.15), size * patient.uniform(1.2, 1.6)),
                side * patient.uniform(-0.1, 0.3),
                wobble(patient, 0.12),
            )
            for side in (-1, 1)
        )
        length, lean = patient.uniform(0.09, 0.16), patient.normal(0, 0.1)
        top = 0.53 - high
        stem = Ellipse((0.0, top + 0.35 * length), (patient.uniform(0.035, 0.05), 0.55 * length), lean)
        tip = Ellipse((-lean * length, top + 0.85 * length), (patient.uniform(0.026, 0.04), 0.36 * length), lean)
        tongue = Ellipse(
            (patient.normal(0, 0.015), 1.03),
            (patient.uniform(0.33, 0.43), patient.uniform(0.25, 0.34)),
            patient.normal(0, 0.05),
            wobble(patient, 0.04),
        )
        frequencies = (2.5, 7, 14, 22, 45)
        return cls(
            opening=Ellipse((0.0, 0.53), (wide, high), 0.0, wobble(patient, 0.06)),
            tonsils=(tonsils[0], tonsils[1]),
            uvula=(stem, tip),
            tongue=tongue,
            waves=tuple(Waves.draw(patient, f, count=9) for f in frequencies),
            tint=(1 + 0.06 * patient.standard_normal((3, 1, 1))).astype(np.float32),
            coating=patient.uniform(0.0, 0.7),
            turn=frame.normal(0, 0.08),
            shift=(frame.normal(0, 0.025), frame.normal(0, 0.025)),
            zoom=frame.uniform(0.88, 1.08),
        )

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Image coordinates -> coordinates of the throat."""
        u, v = rotate(x - np.float32(self.shift[0]), y - np.float32(0.5 + self.shift[1]), self.turn)
        return u / np.float32(self.zoom), v / np.float32(self.zoom) + np.float32(0.5)

    def levels(self, u: Array, v: Array) -> dict[str, Array]:
        """Each part's level: 1 on its outline, less inside; in painting order, far to near."""
        tonsils = np.minimum(self.tonsils[0].level(u, v), self.tonsils[1].level(u, v))
        uvula = np.minimum(self.uvula[0].level(u, v), self.uvula[1].level(u, v))
        return {
            "back_wall": self.opening.level(u, v),
            "tonsil": tonsils,
            "uvula": uvula,
            "tongue": self.tongue.level(u, v),
        }

    def label_map(self, x: Array, y: Array) -> Array:
        """0 other mucosa, 1 tonsil, 2 uvula, 3 tongue, 4 back wall; the nearest part covers the others."""
        labels = np.zeros(x.shape, np.int64)
        for name, level in self.levels(*self.local(x, y)).items():
            labels[level <= 1] = _LABELS[name]
        return labels

    def scene(self, x: Array, y: Array) -> Array:
        """Radiance, float32 [3, height, width]."""
        u, v = self.local(x, y)
        coarse, middle, fine, grain, papillae = (wave(u, v) for wave in self.waves)
        parts = self.levels(u, v)
        color = self._paint(u, v, parts, textures=(coarse, middle, fine, papillae))
        arch = np.exp(-(((parts["back_wall"] - 1.12) / 0.1) ** 2))
        behind = 1 - soft(parts["tongue"] - 1, 0.03)
        relief = np.float32(0.025) * arch * behind + np.float32(0.006) * coarse + np.float32(0.0007) * fine
        relief = relief + bump(parts["tonsil"], 0.035) + bump(parts["uvula"], 0.015) + bump(parts["tongue"], 0.12)
        relief = relief + np.float32(0.0006) * papillae * (parts["tongue"] < 1)
        depth = 1 + np.float32(0.36) * soft(parts["back_wall"] - 1, 0.09)
        for name, distance in (("tonsil", 1.08), ("uvula", 1.03), ("tongue", 0.95)):
            crease = np.float32(0.3) * np.exp(-(((parts[name] - 1.06) / np.float32(0.08)) ** 2))
            depth = depth + crease + soft(parts[name] - 1, 0.05) * (np.float32(distance) - depth - crease)
        return np.clip(shaded(color, relief, depth, wet=grain + 0.5 * middle, wetness=0.75), 0, 1).astype(np.float32)

    def _paint(self, u: Array, v: Array, parts: dict[str, Array], *, textures: tuple[Array, ...]) -> Array:
        coarse, middle, fine, papillae = textures
        mottled = 1 + np.float32(0.05) * coarse + np.float32(0.035) * middle + np.float32(0.02) * fine
        color = _solid(u, (0.84, 0.47, 0.43))
        for name, albedo in _ALBEDO.items():
            color = color + soft(parts[name] - 1, 0.04) * (_solid(u, albedo) - color)
        on_tonsil, on_tongue = soft(parts["tonsil"] - 1, 0.04), soft(parts["tongue"] - 1, 0.04)
        crypts = on_tonsil * np.clip(fine - 1.1, 0, 1)
        coat = (
            on_tongue * np.float32(self.coating) * np.clip(0.5 + 0.25 * coarse + 0.2 * middle + 0.15 * papillae, 0, 1)
        )
        color = color * (1 - np.float32(0.5) * crypts)
        color = color + coat * (_solid(u, (0.88, 0.80, 0.74)) - color)
        blood = vessels(u, v, self.waves[1], 0.07) * (1 - on_tongue) * np.clip(0.4 + 0.5 * coarse, 0, 1)
        return color * mottled * self.tint * (1 - blood * np.array([0.12, 0.38, 0.34], np.float32)[:, None, None])


_ALBEDO = MappingProxyType(
    {
        "back_wall": (0.74, 0.34, 0.30),
        "tonsil": (0.80, 0.37, 0.34),
        "uvula": (0.88, 0.48, 0.46),
        "tongue": (0.80, 0.48, 0.50),
    }
)


def _solid(like: Array, color: tuple[float, float, float]) -> Array:
    return np.broadcast_to(np.array(color, np.float32)[:, None, None], (3, *like.shape))


class Endoscopy(World):
    """Throats in colour: background and four classes. Two frames a patient, from two poses of the camera."""

    presets = PRESETS
    size = (128, 128)
    frames = 2

    def task(self, dimensions: int) -> Task:
        """Three channels; tonsil, uvula, tongue and back wall."""
        return Task(channels=3, classes=("background", *_LABELS), spatial_dims=dimensions)

    def render(self, seeds: Seeds, knobs: Knobs, size: tuple[int, ...]) -> Rendering:
        """One frame: image [3, height, width] in [0, 1]."""
        assert isinstance(knobs, CameraKnobs)
        frame = np.random.default_rng(seeds.frame)
        throat = Throat.draw(np.random.default_rng(seeds.patient), frame)
        x, y = pixel_grid(*size)
        seen = field_of_view(size[0], size[1], knobs.aperture)
        return Rendering(photograph(throat.scene(x, y), knobs, frame), throat.label_map(x, y), seen)
