"""The ultrasound world: a fetal head as machines of several vendors show it.

Echo model: scatterers (complex Gaussian) and mirrors -> point-spread function -> reverberation -> losses along the
beam -> receiver noise -> time-gain compensation -> envelope -> log compression -> scan conversion -> smoothing.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from scipy import ndimage

from unshift.phantom.beam import Geometry, complex_noise, decibels, received, reverberated
from unshift.phantom.fetal_head import Echoes, FetalHead
from unshift.phantom.knobs import Knobs, knob
from unshift.phantom.shapes import pixel_grid, soft
from unshift.phantom.world import Array, Rendering, Seeds, World, eight_bits
from unshift.sample import Task

_DEPTH_MM = 120.0
_FOCUS = 0.5
_AXIAL, _LATERAL = 0.0055, 0.0105  # deviations of the neutral point-spread function, in units of the image's height


class UltrasoundKnobs(Knobs):
    """What vendors and operators set differently. The defaults are neutral."""

    gain: float = knob(0.0, 14.0, "dB added to all echoes")
    dynamic_range: float = knob(60.0, 40.0, "dB that the grey scale covers; less means harder contrast", at_least=5.0)
    tgc: tuple[float, float, float, float, float] = knob(
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (12.0, 6.0, 0.0, -8.0, -16.0),
        "time-gain compensation: dB at depths 0, 1/4, 1/2, 3/4 and 1 of the image",
    )
    attenuation: float = knob(0.0, 25.0, "dB lost from the top to the bottom and not compensated", at_least=0.0)
    speckle_size: float = knob(1.0, 2.6, "factor on the width of the point-spread function", at_least=0.1)
    defocus: float = knob(0.0, 10.0, "how fast the beam widens away from its focus at mid-depth", at_least=0.0)
    blur: float = knob(0.0, 0.014, "deviation of the smoothing after scan conversion, in image heights", at_least=0.0)
    shadow: float = knob(0.0, 1.0, "strength of acoustic shadows behind skull and ribs", at_least=0.0)
    reverberation: float = knob(0.0, 0.45, "amplitude of each repeated echo", at_least=0.0, at_most=0.9)
    noise: float = knob(-90.0, -34.0, "dB of the receiver's noise, which time-gain compensation amplifies")
    sector: float = knob(0.0, 62.0, "degrees from the first to the last beam; 0 is a linear array", at_least=0.0)


NEUTRAL = UltrasoundKnobs()
PRESETS = MappingProxyType(
    {
        "A": UltrasoundKnobs(
            dynamic_range=62.0,
            gain=2.0,
            shadow=0.25,
            sector=30.0,
            noise=-70.0,
            reverberation=0.02,
            defocus=0.6,
            blur=0.003,
        ),
        "B": UltrasoundKnobs(
            dynamic_range=52.0,
            gain=4.0,
            tgc=(8.0, 5.0, 0.0, -3.0, -5.0),
            speckle_size=1.75,
            defocus=2.0,
            blur=0.007,
            shadow=0.75,
            reverberation=0.24,
            noise=-48.0,
            sector=52.0,
        ),
        "C": UltrasoundKnobs(
            dynamic_range=68.0,
            gain=5.0,
            tgc=(-6.0, -3.0, 0.0, 4.0, 8.0),
            speckle_size=1.25,
            blur=0.0035,
            shadow=0.4,
            reverberation=0.07,
            noise=-60.0,
            sector=0.0,
        ),
    }
)


class Ultrasound(World):
    """Fetal heads; label 1 is the filled head. Two frames a patient, at two angles of the probe."""

    presets = PRESETS
    size = (128, 128)
    frames = 2

    def task(self, dimensions: int) -> Task:
        """One grey channel; background and head."""
        return Task(channels=1, classes=("background", "head"), spatial_dims=dimensions)

    def render(self, seeds: Seeds, knobs: Knobs, size: tuple[int, ...]) -> Rendering:
        """One frame: image [1, height, width] in [0, 1] and 0 outside the sector."""
        assert isinstance(knobs, UltrasoundKnobs)
        height, width = size
        frame = np.random.default_rng(seeds.frame)
        anatomy = FetalHead.draw(np.random.default_rng(seeds.patient), frame)
        x, y = pixel_grid(height, width)
        geometry = Geometry(knobs.sector)
        grey = geometry.to_pixels(_log_image(anatomy, knobs, geometry, frame, size=size), x, y)
        if knobs.blur:
            grey = ndimage.gaussian_filter(grey, knobs.blur * height, truncate=3)
        seen = geometry.field_of_view(x, y)
        spacing = _DEPTH_MM / height
        return Rendering(eight_bits(np.where(seen, grey, 0))[None], anatomy.label_map(x, y), seen, (spacing, spacing))


def _log_image(
    anatomy: FetalHead, knobs: UltrasoundKnobs, geometry: Geometry, generator: np.random.Generator, *, size: tuple
) -> Array:
    """Grey levels [depth, line] after log compression, not yet clipped below."""
    depths, lines = round(1.25 * size[0]), round(1.1 * size[1])
    x, y, dx, dy = geometry.beam_grid(depths, lines)
    echoes = anatomy.echoes(x, y, (dx, dy))
    ribs = _ribs(generator, depths, lines)
    speckle, thermal = complex_noise(generator, (depths, lines)), complex_noise(generator, (depths, lines))
    depth = np.linspace(0, 1, depths, dtype=np.float32)
    lateral = knobs.speckle_size * _LATERAL * lines * (1 + knobs.defocus * (depth - _FOCUS) ** 2)
    signal = received(
        speckle * _amplitude(echoes.diffuse), echoes.specular, knobs.speckle_size * _AXIAL * depths, lateral
    )
    signal = reverberated(signal, knobs.reverberation, round(0.085 * depths))
    signal = signal * _amplitude(-_loss(echoes, knobs, ribs, depth))
    signal = signal + thermal * np.float32(10 ** (knobs.noise / 20))
    compensated = decibels(np.abs(signal)) + np.float32(knobs.gain) + _tgc(knobs, depth)[:, None]
    return np.clip(1 + compensated / np.float32(knobs.dynamic_range), 0, 1)


def _amplitude(decibel: Array) -> Array:
    return np.float32(10) ** (decibel / np.float32(20))


def _tgc(knobs: UltrasoundKnobs, depth: Array) -> Array:
    return np.interp(depth, np.linspace(0, 1, len(knobs.tgc)), knobs.tgc).astype(np.float32)


def _loss(echoes: Echoes, knobs: UltrasoundKnobs, ribs: Array, depth: Array) -> Array:
    """Decibels lost on the way: uncompensated attenuation, and the shadows of skull and ribs."""
    behind = np.cumsum(echoes.bone, axis=0, dtype=np.float32) / np.float32(len(depth))
    shadow = np.float32(knobs.shadow) * (np.minimum(np.float32(150) * behind, 16) + ribs)
    return np.float32(knobs.attenuation) * depth[:, None] + shadow


def _ribs(generator: np.random.Generator, depths: int, lines: int) -> Array:
    """Decibels that ribs or lost contact of the probe take from some beams at full strength."""
    depth, line = np.linspace(0, 1, depths, dtype=np.float32)[:, None], np.linspace(0, 1, lines, dtype=np.float32)[None]
    total = np.zeros((depths, lines), np.float32)
    for _ in range(2):
        center, half, start = generator.uniform(0.1, 0.9), generator.uniform(0.03, 0.07), generator.uniform(0.05, 0.3)
        across = soft(np.abs(line - np.float32(center)) - np.float32(half), 0.03)
        total += np.float32(26) * across * soft(np.float32(start) - depth, 0.03)
    return total
