"""Ultrasound physics in beam coordinates: scan geometry, speckle, point-spread function, loss along the beam.

Beam arrays are [depth, line]: axis 0 runs along the beam, axis 1 across the lines of the probe. Lengths are in units of
the image's height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy import ndimage

Array = np.ndarray
_HALF_WIDTH = 0.62  # of the widest part of the sector: a little more than half an image, so that its sides are cut


@dataclass(frozen=True)
class Geometry:
    """Where the beams run: ``opening`` degrees from the first to the last; 0 is a linear array.

    The sector's apex lies ``apex`` above the image's top edge, the ends of the probe's face touch that edge, and the
    deepest point touches the bottom. Tends to parallel beams, continuously, as the opening tends to 0.
    """

    opening: float

    @property
    def half_angle(self) -> float:
        """Half of the opening in radians, never quite 0."""
        return max(np.deg2rad(self.opening) / 2, 1e-4)

    @property
    def apex(self) -> float:
        """Height of the sector's apex above the image."""
        return max(_HALF_WIDTH / np.sin(self.half_angle) - 1, 0.05)

    @property
    def face(self) -> float:
        """Radius of the probe's face around the apex."""
        return self.apex / np.cos(self.half_angle)

    def beam_grid(self, depths: int, lines: int) -> tuple[Array, Array, Array, Array]:
        """x, y of every beam sample and the unit direction (dx, dy) of each line, float32."""
        radius = self.face + np.linspace(0, 1 + self.apex - self.face, depths)[:, None]
        angle = np.linspace(-self.half_angle, self.half_angle, lines)[None]
        x, y = radius * np.sin(angle), radius * np.cos(angle) - self.apex
        return tuple(a.astype(np.float32) for a in (x, y, np.sin(angle), np.cos(angle)))  # type: ignore[return-value]

    def scan_grid(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Depth and line of each pixel, both 0 … 1 within the sector (outside of it: less than 0 or more than 1)."""
        x, y = x.astype(np.float64), y.astype(np.float64) + self.apex
        depth = (np.hypot(x, y) - self.face) / (1 + self.apex - self.face)
        return depth, (np.arctan2(x, y) / self.half_angle + 1) / 2

    def field_of_view(self, x: Array, y: Array) -> Array:
        """Pixels that a beam reaches."""
        depth, line = self.scan_grid(x, y)
        return (depth >= 0) & (depth <= 1) & (line >= 0) & (line <= 1)

    def to_pixels(self, beams: Array, x: Array, y: Array) -> Array:
        """Scan conversion: beam samples -> pixels, linear between samples, 0 outside the sector."""
        depth, line = self.scan_grid(x, y)
        places = np.stack([depth * (beams.shape[0] - 1), line * (beams.shape[1] - 1)]).astype(np.float32)
        return ndimage.map_coordinates(beams, places, order=1, mode="constant", prefilter=False)


def complex_noise(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Circular complex Gaussian noise of mean square 1, complex64."""
    parts = generator.standard_normal((2, *shape), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return parts[0] + 1j * parts[1]


def received(scatterers: Array, reflectors: Array, axial: float, lateral: Array) -> Array:
    """The complex signal that a Gaussian point-spread function makes of scatterers and reflectors.

    Diffuse scatterers are many in each resolution cell and add with random phase; the result over a uniform region
    is circular complex Gaussian, so that its envelope is Rayleigh distributed (fully developed speckle). Reflectors
    add coherently. Filtering is by FFT, so the borders are periodic: within a resolution cell of them echoes mix with
    those of the opposite border.

    Args:
        scatterers: complex amplitude [depth, line]: echo amplitude times :func:`complex_noise`. A uniform amplitude a
            gives a signal of mean square a² whatever the point-spread function.
        reflectors: real amplitude [depth, line], blurred with gain 1 at rest.
        axial: deviation along the beam in samples.
        lateral: deviation across the beams in samples, one per depth.
    """
    rows, columns = scatterers.shape
    along = np.exp(-2 * (np.pi * axial * scipy.fft.fftfreq(rows)) ** 2)
    across = np.exp(-2 * (np.pi * lateral[:, None] * scipy.fft.fftfreq(columns)) ** 2)
    power = np.sqrt(np.mean(along**2) * np.mean(across**2, axis=1, keepdims=True))
    signal = scatterers / power.astype(np.float32) + reflectors
    signal = scipy.fft.ifft(scipy.fft.fft(signal, axis=0) * along[:, None].astype(np.float32), axis=0)
    return scipy.fft.ifft(scipy.fft.fft(signal, axis=1) * across.astype(np.float32), axis=1)


def reverberated(signal: Array, share: float, period: int, echoes: int = 4) -> Array:
    """The signal with its echoes between probe and reflectors: copies every ``period`` samples, each weaker."""
    if share == 0:
        return signal
    result = signal.copy()
    for n in range(1, echoes + 1):
        start = n * period
        if start < len(signal):
            result[start:] += np.float32(share**n) * signal[:-start]
    return result


def decibels(envelope: Array) -> Array:
    """20 log10, floored at -120 dB."""
    return np.float32(20) * np.log10(np.maximum(envelope, np.float32(1e-6)))
