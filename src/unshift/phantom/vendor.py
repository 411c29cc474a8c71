"""Other vendors for real images: what is known of acquisition and processing, applied to a finished picture.

A picture that one machine has made is shown as another would: knobs and presets as in :mod:`unshift.phantom.knobs`,
geometry untouched, so that label maps stay. Kinds:

``ultrasound``
    The picture is taken for a log-compressed one of 60 dB. Point-spread function and edge enhancement -> decibels ->
    speckle -> losses along the beam and in shadows -> receiver noise -> gain and time-gain compensation -> another
    dynamic range -> another grey map. Beams leave a virtual apex above the field of view.
``photo``
    The camera of :mod:`unshift.phantom.camera`: haze, lens, light, exposure, white balance, noise, gamma, saturation,
    JPEG.

The presets B, C and D are kinds of machine, written down from what their settings do and looked at on contact sheets;
no score of any method was looked at. What lies outside the field of view stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from unshift.errors import DataError, UnknownName
from unshift.phantom.camera import CameraKnobs, photograph
from unshift.phantom.knobs import Knobs, knob, parse_domain
from unshift.phantom.shapes import soft
from unshift.phantom.world import eight_bits
from unshift.randomness import numpy_generator

Array = np.ndarray
VERSION = 1
"""Of the pictures: raise it when the same knobs and seed make different ones."""
_RANGE = 60.0  # dB that the given picture is taken to cover
_APEX = 0.6  # height of the virtual apex above the field of view, in heights of the field
_BEAMS = 3  # shadows
_BLACK, _NEARLY = 1.5 / 255, 14 / 255  # JPEG leaves traces beside black
_OPENING = 7  # pixels: thinner black structures belong to the picture


class ScannerKnobs(Knobs):
    """What ultrasound vendors and operators set differently, as seen in a finished picture. Defaults are neutral."""

    blur: float = knob(0.0, 0.01, "mean deviation of the point-spread function, in image heights", at_least=0.0)
    edges: float = knob(0.0, 1.5, "edge enhancement: share of detail that is added once more", at_least=0.0)
    speckle: float = knob(0.0, 1.0, "strength of fresh speckle; 1 is fully developed (5.6 dB deviation)", at_least=0.0)
    speckle_size: float = knob(1.0, 3.0, "its grain; 1 is 0.004 image heights along and 0.008 across", at_least=0.25)
    attenuation: float = knob(0.0, 16.0, "dB lost from the first to the last depth", at_least=0.0)
    shadow: float = knob(0.0, 1.0, "strength of shadows along beams; 1 takes about 20 dB", at_least=0.0)
    noise: float = knob(-90.0, -38.0, "dB of the receiver's noise before it is amplified")
    gain: float = knob(0.0, 12.0, "dB added to all echoes")
    tgc: tuple[float, float, float, float, float] = knob(
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (10.0, 5.0, 0.0, -5.0, -10.0),
        "time-gain compensation: dB at depths 0, 1/4, 1/2, 3/4 and 1 of the field of view",
    )
    dynamic_range: float = knob(_RANGE, 42.0, "dB that the grey scale covers; less is harder contrast", at_least=10.0)
    grey_map: float = knob(
        0.0, 0.8, "S-shaped grey map: dark darker, bright brighter; below 0 the reverse", at_least=-1
    )


SCANNERS = MappingProxyType(
    {
        # A cart machine of an older generation: hard contrast, coarse speckle, near field too bright.
        "B": ScannerKnobs(
            blur=0.004,
            speckle=0.6,
            speckle_size=2.0,
            attenuation=4.0,
            shadow=0.4,
            noise=-60.0,
            gain=9.0,
            tgc=(6.0, 3.0, 0.0, -3.0, -6.0),
            dynamic_range=52.0,
            grey_map=0.3,
        ),
        # A high-end machine that reduces speckle: smooth, edges enhanced, wide flat grey scale, far field bright.
        "C": ScannerKnobs(
            blur=0.006,
            edges=0.6,
            speckle=0.15,
            noise=-60.0,
            gain=3.0,
            tgc=(-5.0, -2.5, 0.0, 3.0, 6.0),
            dynamic_range=76.0,
            grey_map=-0.3,
        ),
        # A hand-held probe: poor penetration, wide beam, shadows of bad contact, noise that gain brings up.
        "D": ScannerKnobs(
            blur=0.008,
            speckle=0.7,
            speckle_size=2.6,
            attenuation=8.0,
            shadow=0.8,
            noise=-63.0,
            gain=12.0,
            tgc=(-4.0, -1.0, 2.0, 4.0, 5.0),
            dynamic_range=66.0,
        ),
    }
)
CAMERAS = MappingProxyType(
    {
        # Warm light, saturated colours, light from the middle.
        "B": CameraKnobs(
            white_balance=(1.12, 1.0, 0.78), saturation=1.3, vignetting=0.45, gamma=1.25, noise=0.02, blur=0.002
        ),
        # Cold and pale: a veil over the scene, lifted shadows, compressed files.
        "C": CameraKnobs(
            white_balance=(0.82, 1.0, 1.25), saturation=0.65, haze=0.25, gamma=0.75, blur=0.005, jpeg=2.0, exposure=0.1
        ),
        # An old camera: dim, greenish, uneven light, noise, strong compression.
        "D": CameraKnobs(
            white_balance=(0.85, 1.1, 0.85),
            exposure=-0.7,
            saturation=0.7,
            vignetting=0.6,
            uneven=0.5,
            noise=0.06,
            blur=0.006,
            jpeg=3.0,
            gamma=0.85,
        ),
    }
)


@dataclass(frozen=True)
class Simulator:
    """A kind of machine.

    Args:
        neutral: knobs that leave pictures as they are.
        presets: named vendors.
        channels: what pictures must have, or None for any number.
        fringe: pixels beside the black background that are background when they are nearly black: traces of JPEG
            around a bright field of view. 0 where the field of view itself is dark at its border.
        render: (picture float32 [channel, height, width], knobs, generator, inside bool [height, width]) -> picture.
    """

    neutral: Knobs
    presets: Mapping[str, Knobs]
    channels: int | None
    fringe: int
    render: Callable[[Array, Any, np.random.Generator, Array], Array]

    def knobs(self, shifts: str, *, of: str = "original") -> Knobs:
        """The knobs of shifts as they stand behind a domain's name: ``+B@0.5+gain@0.2``; of nothing, the neutral ones.

        Args:
            shifts: what follows the name.
            of: the name, for messages.

        Raises:
            UnknownName: no such preset or knob.
            ConfigError: a shift without strength, or a strength that is no number in [0, 1].
        """
        name = "original" if "+" in of or of in self.presets else of
        return parse_domain(f"{name}{shifts}", {name: self.neutral, **self.presets})


def simulator(kind: str) -> Simulator:
    """The simulator of ``ultrasound`` or ``photo``. Raises :class:`UnknownName`."""
    if kind not in SIMULATORS:
        raise UnknownName("simulator", kind, SIMULATORS)
    return SIMULATORS[kind]


def simulate(
    image: Float[Tensor, "channel height width"],
    kind: str,
    knobs: Knobs,
    *,
    seed: int,
    field_of_view: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "channel height width"]:
    """The picture as a machine with ``knobs`` would show it, float32 in [0, 1], of 256 levels.

    Neutral knobs give the picture bit for bit. The same seed draws the same speckle and shadows for all knobs.

    Args:
        image: float32 in [0, 1].
        kind: ``ultrasound`` or ``photo``.
        knobs: of that kind.
        seed: decides speckle, noise and the places of shadows.
        field_of_view: outside of it nothing changes; default: all but the black regions at the border.

    Raises:
        UnknownName: no such kind.
        DataError: not a picture, of other channels than the kind needs, or not in [0, 1].
    """
    machine = simulator(kind)
    if image.ndim != 3:
        raise DataError(
            f"Vendor simulator: the image has {image.ndim - 1} axes; pictures of 2 are simulated. Use slices."
        )
    if machine.channels not in (None, image.shape[0]):
        raise DataError(
            f"Vendor simulator {kind!r}: the image has {image.shape[0]} channel(s); {machine.channels} are required. "
            "Choose another simulator."
        )
    if not (float(image.min()) >= 0 and float(image.max()) <= 1):
        raise DataError(
            f"Vendor simulator: intensities span {float(image.min()):.3g} … {float(image.max()):.3g}; pictures in "
            "[0, 1] are simulated. Scale them there."
        )
    if knobs == machine.neutral:
        return image
    picture = image.numpy().astype(np.float32)
    inside = lit(picture, fringe=machine.fringe) if field_of_view is None else field_of_view.numpy()
    if not inside.any():
        return image
    result = machine.render(picture, knobs, numpy_generator(seed, "vendor", kind), inside)
    return torch.from_numpy(eight_bits(np.where(inside, result, picture)))


def lit(picture: Array, *, fringe: int = 0) -> Array:
    """The picture without the black regions that touch its border, bool [height, width].

    Black is at most 1.5/255 in all channels, and 14/255 in the ``fringe`` pixels beside it. Black structures narrower
    than 7 pixels belong to the picture.
    """
    brightest = picture.max(axis=0)
    black = brightest <= _BLACK
    padded = np.pad(black, _OPENING, mode="edge")
    wide = ndimage.binary_opening(padded, np.ones((_OPENING, _OPENING)))[_OPENING:-_OPENING, _OPENING:-_OPENING]
    labels, _ = ndimage.label(wide)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    outside = np.isin(labels, border[border > 0])
    if fringe:
        outside = ndimage.binary_dilation(outside, np.ones((3, 3)), fringe, mask=outside | (brightest <= _NEARLY))
    return ~outside


# --------------------------------------------------------------------------------------------------- ultrasound


def _scan(picture: Array, knobs: ScannerKnobs, random: np.random.Generator, inside: Array) -> Array:
    height = picture.shape[1]
    speckle, thermal = (_speckle(random, inside.shape, s) for s in (knobs.speckle_size, 0.7))
    depth, beam = _beams(inside)
    shadows = _shadows(random, depth, beam)
    picture = _resolved(picture, knobs, inside, height)
    echo = _RANGE * (picture - 1) + np.float32(knobs.speckle) * speckle
    echo = echo - np.float32(knobs.attenuation) * depth - np.float32(knobs.shadow) * shadows
    echo = np.logaddexp(_nepers(echo), _nepers(np.float32(knobs.noise) + thermal)) / _nepers(1)
    echo = echo + np.float32(knobs.gain) + np.interp(depth, np.linspace(0, 1, len(knobs.tgc)), knobs.tgc)
    grey = np.clip(1 + echo / np.float32(knobs.dynamic_range), 0, 1)
    return grey + np.float32(knobs.grey_map) * (grey * grey * (3 - 2 * grey) - grey)


def _nepers(decibels: Any) -> Any:
    """Decibels of power as natural logarithms of it."""
    return decibels * np.float32(np.log(10) / 10)


def _resolved(picture: Array, knobs: ScannerKnobs, inside: Array, height: int) -> Array:
    """Blurred along (0.6) and across (1.4) the beam within the field of view, then its detail added once more."""
    if knobs.blur:
        picture = _smooth(picture, (0.6 * knobs.blur * height, 1.4 * knobs.blur * height), inside)
    if knobs.edges:
        picture = picture + np.float32(knobs.edges) * (picture - _smooth(picture, (0.008 * height,) * 2, inside))
    return np.clip(picture, 0, 1)


def _smooth(picture: Array, deviations: tuple[float, float], inside: Array) -> Array:
    """Gaussian over what lies inside; the black outside does not bleed in."""
    known = inside.astype(np.float32)
    weight = ndimage.gaussian_filter(known, deviations, mode="nearest")
    total = ndimage.gaussian_filter(picture * known, (0, *deviations), mode="nearest")
    return total / np.maximum(weight, np.float32(1e-3))


def _speckle(random: np.random.Generator, shape: tuple[int, int], size: float) -> Array:
    """Decibels about their mean of a fully developed speckle pattern: the envelope of filtered complex noise."""
    deviations = (0.004 * size * shape[0], 0.008 * size * shape[0])
    parts = [
        ndimage.gaussian_filter(p, deviations, mode="wrap") for p in random.standard_normal((2, *shape), np.float32)
    ]
    power = parts[0] ** 2 + parts[1] ** 2
    decibels = 10 * np.log10(np.maximum(power / power.mean(), np.float32(1e-3)))
    return (decibels - decibels.mean()).astype(np.float32)


def _beams(inside: Array) -> tuple[Array, Array]:
    """Depth (0 nearest, 1 farthest) and angle (0 leftmost, 1 rightmost) of each pixel along beams from the apex."""
    rows, columns = np.nonzero(inside)
    top, tall = rows.min(), max(int(np.ptp(rows)), 1)
    y = (np.arange(inside.shape[0], dtype=np.float32)[:, None] - top) / np.float32(tall) + np.float32(_APEX)
    x = (np.arange(inside.shape[1], dtype=np.float32)[None] - np.float32(columns.mean())) / np.float32(tall)
    distance, angle = np.hypot(x, y), np.arctan2(x, np.maximum(y, np.float32(1e-3)))
    return tuple(_unit(values, inside) for values in (distance, angle))  # type: ignore[return-value]


def _unit(values: Array, inside: Array) -> Array:
    low, high = values[inside].min(), values[inside].max()
    return np.clip((values - low) / max(high - low, np.float32(1e-6)), 0, 1)


def _shadows(random: np.random.Generator, depth: Array, beam: Array) -> Array:
    """Decibels that badly conducting beams lose below the depth at which their shadow begins."""
    total = np.zeros_like(depth)
    for _ in range(_BEAMS):
        center, half, start = random.uniform(0, 1), random.uniform(0.015, 0.06), random.uniform(0, 0.35)
        across = soft(np.abs(beam - np.float32(center)) - np.float32(half), 0.03)
        total += np.float32(20) * across * soft(np.float32(start) - depth, 0.08)
    return np.minimum(total, 24)


# -------------------------------------------------------------------------------------------------------- photo


def _photographed(picture: Array, knobs: CameraKnobs, random: np.random.Generator, inside: Array) -> Array:
    """The camera's picture; the neutral aperture cuts nothing off, however wide the picture is."""
    is_open = knobs.aperture >= CameraKnobs().aperture
    return photograph(picture, knobs.model_copy(update={"aperture": np.inf}) if is_open else knobs, random)


SIMULATORS: Mapping[str, Simulator] = MappingProxyType(
    {
        "ultrasound": Simulator(ScannerKnobs(), SCANNERS, None, 0, _scan),
        "photo": Simulator(CameraKnobs(), CAMERAS, 3, 6, _photographed),
    }
)
