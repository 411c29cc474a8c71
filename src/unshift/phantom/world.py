"""What the four worlds of the phantom have in common: anatomy from seeds, appearance from knobs.

The two are apart on purpose. Anatomy and every noise realization depend on the seeds only, so that two settings of
the knobs show the same patient with the same scatterers, and no knob moves the label map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unshift.phantom.knobs import Knobs
from unshift.sample import Task

Array = np.ndarray


@dataclass(frozen=True)
class Rendering:
    """One picture with its truth.

    Args:
        image: float32 [channel, *space]; pictures in [0, 1], volumes in their units.
        label_map: int64 [*space].
        field_of_view: bool [*space], or None when the whole grid is seen.
        spacing: mm in array axis order, or None when unknown.
        affine: float64 [d+1, d+1], array indices -> RAS+ mm, or None.
    """

    image: Array
    label_map: Array
    field_of_view: Array | None = None
    spacing: tuple[float, ...] | None = None
    affine: Array | None = None


@dataclass(frozen=True)
class Seeds:
    """``patient`` decides the anatomy; ``frame`` the view of it, the noise and the speckle."""

    patient: int
    frame: int


class World(ABC):
    """A kind of images whose content is decided by seeds and whose appearance is decided by knobs."""

    presets: ClassVar[Mapping[str, Knobs]]
    """Named settings; the first is the one that the others are shifted from."""
    size: ClassVar[tuple[int, ...]]
    """Default size of the space."""
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    """Numbers of spatial axes that it can show, the default first."""
    frames: ClassVar[int] = 1
    """Images of one patient, unless told otherwise."""
    are_pictures: ClassVar[bool] = True
    """Intensities are a picture's, in [0, 1], and not in units of their own."""

    @abstractmethod
    def task(self, dimensions: int) -> Task:
        """Channels, classes, regions."""

    @abstractmethod
    def render(self, seeds: Seeds, knobs: Knobs, size: tuple[int, ...]) -> Rendering:
        """The picture of ``size`` that an acquisition with ``knobs`` takes; a pure function of its arguments."""


def eight_bits(image: Array) -> Array:
    """Intensities in [0, 1] as a picture file stores them: 256 levels, float32."""
    return (np.round(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)
