"""A window of CT numbers (HU) to [0, 1], values beyond clipped.

Level is the window's middle and width its whole extent, as on a viewing station: level 50, width 400 shows -150 … 250
HU. There are no statistics of the image in it: equal tissue stays equal in all images, inside and outside any field of
view. Images must be in HU; ``ct_only`` leaves alone what cannot be, so that one recipe serves CT and MR. The presets
are those of Murphy et al., "Windowing (CT)", Radiopaedia.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.sample import Sample

Preset = Literal["abdomen", "liver", "mediastinum", "lung", "bone", "brain"]
PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (50.0, 400.0),
    "liver": (30.0, 150.0),
    "mediastinum": (50.0, 350.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
"""Level and width in HU."""
_AIR = -300.0
"""HU. Air, which is around and in every body, is at -1000 and fat at -100; magnitudes of MR are 0 or more."""


class CTWindowConfig(Config):
    """A preset, or level and width in HU; without either, the preset ``abdomen``."""

    preset: Preset | None = None
    level: float | None = None
    width: float | None = None
    ct_only: bool = Field(False, description="leave an image as it is that holds no air (no value below -300)")

    @model_validator(mode="after")
    def _check(self) -> CTWindowConfig:
        if self.preset is not None and (self.level is not None or self.width is not None):
            raise ValueError(f"preset {self.preset!r} and level or width are given; give one or the other")
        if (self.level is None) != (self.width is None):
            raise ValueError(f"level is {self.level} and width is {self.width}; both are required")
        if self.width is not None and not self.width > 0:
            raise ValueError(f"width is {self.width:g} HU; it must be above 0")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """HU that become 0 and 1."""
        if self.level is not None and self.width is not None:
            level, width = self.level, self.width
        else:
            level, width = PRESETS[self.preset or "abdomen"]
        return level - width / 2, level + width / 2


class CTWindow(Normalization):
    """(x - low) / (high - low), clipped to [0, 1], with the same two numbers for all images."""

    Config = CTWindowConfig

    def views(self, sample: Sample) -> list[Sample]:
        """One view, float32 in [0, 1]; with ``ct_only``, an image without air is the view, as it came.

        Whether an image is CT its values say, not its domain's name: a bundle meets images whose domain nobody named.
        """
        if self.config.ct_only and float(sample.image.min()) > _AIR:
            return [sample]
        low, high = self.config.bounds
        return [sample.replace(image=((sample.image - low) / (high - low)).clamp(0, 1))]


MEMBER = CTWindow
