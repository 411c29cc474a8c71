"""Quality shifts: named, seeded degradations of any finished picture, in five strengths.

A quality shift is written ``<name>@<level>``, the level a whole number from 1 to 5 (0 leaves the picture bit for bit);
several are joined by ``+`` and applied from left to right::

    old_endoscope@3
    low_resolution@2+sensor_noise@1

    degrade(image, "old_endoscope@3", seed=7)

They stand last in a domain's name, behind presets and knobs, which take strengths from 0 to 1 instead: the name decides
what the number means. ``A+B@0.5+phone@2`` is A, moved half of the way to B, then seen through a phone at level 2.

Levels are scaled by the severities of ImageNet-C (Hendrycks & Dietterich, ICLR 2019) where it has the corruption: JPEG
has its qualities; blur and noise begin lower, since its weakest are more than a medical camera in use would show. The
others are ours, and were looked at on contact sheets; no score of any method was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import ConfigError, DataError, UnknownName
from unshift.phantom import degradations as do
from unshift.phantom.vendor import lit
from unshift.randomness import numpy_generator

Array = np.ndarray
VERSION = 1
"""Of the pictures: raise it when the same shift and seed make different ones."""
LEVELS = (1, 2, 3, 4, 5)
_FRINGE = 6  # of colour pictures, whose black borders JPEG has touched


Amounts = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Step:
    """One degradation, and its amount at levels 1 to 5."""

    apply: Callable[[Array, float, do.Frame], Array]
    amounts: Amounts


@dataclass(frozen=True)
class Quality:
    """A named quality shift.

    Args:
        meaning: one line, with what the amounts are.
        steps: from left to right.
        needs_color: it does nothing to grey pictures, which are refused.
    """

    meaning: str
    steps: tuple[Step, ...]
    needs_color: bool = False

    @property
    def summary(self) -> str:
        """The meaning, and the five amounts where there is one step."""
        if len(self.steps) > 1:
            return self.meaning
        return f"{self.meaning}: {', '.join(f'{amount:g}' for amount in self.steps[0].amounts)}"


def _one(meaning: str, apply: Callable, amounts: Amounts, *, needs_color: bool = False) -> Quality:
    return Quality(meaning, (Step(apply, amounts),), needs_color)


QUALITY: Mapping[str, Quality] = MappingProxyType(
    {
        "low_resolution": _one(
            "detail lost, by this factor along each axis", do.low_resolution, (1.5, 2, 2.7, 3.5, 4.5)
        ),
        "jpeg_compression": _one("JPEG of this quality", do.jpeg, (25, 18, 15, 10, 7)),
        "lens_haze": _one("share of an uneven bright veil", do.haze, (0.15, 0.25, 0.35, 0.45, 0.55)),
        "defocus_blur": _one("radius of a disc, in units", do.defocus, (1.5, 2.5, 3.5, 5, 7)),
        "motion_blur": _one("length of a line, in units, its direction drawn", do.motion, (5, 8, 12, 17, 23)),
        "sensor_noise": _one("deviation of the noise at full light", do.noise, (0.04, 0.07, 0.11, 0.16, 0.22)),
        "color_cast": _one(
            "white balance, stops to the warm or to the cold side, as drawn",
            do.any_cast,
            (0.1, 0.18, 0.28, 0.4, 0.55),
            needs_color=True,
        ),
        "overexposure": _one("stops of light", do.exposure, (0.4, 0.8, 1.2, 1.6, 2.1)),
        "underexposure": _one("stops of light", do.exposure, (-0.5, -1, -1.6, -2.3, -3.2)),
        "dark_corners": _one("vignetting: share of light lost at the rim", do.vignetting, (0.25, 0.4, 0.55, 0.7, 0.85)),
        "oversaturation": _one(
            "factor on the distance of colours from grey", do.saturation, (1.25, 1.5, 1.8, 2.2, 2.8), needs_color=True
        ),
        # A phone held to the eyepiece or the screen.
        "phone": Quality(
            "a phone's camera: shake, bright, cold, noisy, sharpened, saturated, compressed",
            (
                Step(do.motion, (2, 3, 4.5, 6.5, 9)),
                Step(do.vignetting, (0.08, 0.12, 0.18, 0.25, 0.32)),
                Step(do.exposure, (0.25, 0.4, 0.55, 0.7, 0.9)),
                Step(do.cast, (-0.05, -0.09, -0.13, -0.17, -0.22)),
                Step(do.noise, (0.015, 0.025, 0.035, 0.05, 0.07)),
                Step(do.sharpen, (0.4, 0.6, 0.8, 1.0, 1.2)),
                Step(do.saturation, (1.08, 1.15, 1.23, 1.32, 1.42)),
                Step(do.jpeg, (50, 40, 30, 22, 15)),
            ),
        ),
        # An endoscope of an older generation, its video captured.
        "old_endoscope": Quality(
            "an endoscope of an older generation: few lines, soft, hazy, dim, yellow, pale, noisy, compressed",
            (
                Step(do.haze, (0.04, 0.07, 0.1, 0.14, 0.18)),
                Step(do.defocus, (0.8, 1.2, 1.7, 2.3, 3)),
                Step(do.vignetting, (0.2, 0.3, 0.4, 0.5, 0.6)),
                Step(do.exposure, (-0.1, -0.25, -0.4, -0.6, -0.8)),
                Step(do.cast, (0.08, 0.14, 0.2, 0.27, 0.35)),
                Step(do.noise, (0.02, 0.03, 0.04, 0.055, 0.07)),
                Step(do.saturation, (0.85, 0.77, 0.69, 0.6, 0.5)),
                Step(do.low_resolution, (1.3, 1.6, 2, 2.5, 3.2)),
                Step(do.jpeg, (50, 40, 32, 25, 18)),
            ),
        ),
    }
)


@dataclass(frozen=True)
class QualityShift:
    """A name of :data:`QUALITY` at a level from 0 to 5; as text, ``old_endoscope@3``.

    Raises:
        UnknownName: no such quality shift.
        ConfigError: not one of these levels.
    """

    name: str
    level: int

    def __post_init__(self) -> None:
        if self.name not in QUALITY:
            raise UnknownName("quality shift", self.name, QUALITY)
        if type(self.level) is not int or self.level not in (0, *LEVELS):
            raise ConfigError(_no_level(self.name, repr(self.level)))

    def __str__(self) -> str:
        return f"{self.name}@{self.level}"

    @property
    def steps(self) -> tuple[tuple[str, float], ...]:
        """What is done, as (degradation, amount); nothing at level 0. Belongs into fingerprints, with VERSION."""
        if not self.level:
            return ()
        return tuple((step.apply.__name__, step.amounts[self.level - 1]) for step in QUALITY[self.name].steps)


def parse(text: str) -> tuple[QualityShift, ...]:
    """The quality shifts of ``low_resolution@2+sensor_noise@1``.

    Raises:
        UnknownName: no such quality shift.
        ConfigError: no level, or one that is no whole number from 0 to 5.
    """
    return tuple(_read(part, where="") for part in text.split("+"))


def split(text: str, own: Collection[str], *, where: str) -> tuple[str, tuple[QualityShift, ...]]:
    """Cut the quality shifts off a domain's name: ``A+B@0.5+phone@2`` -> ``A+B@0.5`` and phone@2.

    A name that is in ``own`` too takes a strength where the number is 0 or has a decimal point, a level from 2 to 5;
    1 would be both, and is refused.

    Args:
        text: shifts behind a base, which may be empty.
        own: names of presets and knobs, which take strengths from 0 to 1.
        where: the domain's full name, for messages.

    Raises:
        UnknownName: no such preset, knob or quality shift.
        ConfigError: a wrong level, a 1 that could be a level or a strength, or a preset or knob behind a quality shift.
    """
    base, *parts = text.split("+")
    kept, found = [base], []
    for part in parts:
        if _is_quality(part, own, where=where):
            found.append(_read(part, where=f"domain {where!r}"))
            continue
        name = part.partition("@")[0]
        if name not in own:
            known = (*own, *QUALITY)
            raise UnknownName("knob or preset or quality shift", name, known, where=f"domain {where!r}")
        if found:
            raise ConfigError(
                f"Domain {where!r}: {part!r} stands behind the quality shift {str(found[-1])!r}; quality shifts act on "
                "the finished picture. Write them last."
            )
        kept.append(part)
    return "+".join(kept), tuple(found)


def degrade(
    image: Float[Tensor, "channel height width"],
    shifts: str | tuple[QualityShift, ...],
    *,
    seed: int,
    field_of_view: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "channel height width"]:
    """The picture with its quality spoiled, float32 in [0, 1] on the image's device; level 0 gives it bit for bit.

    The same seed draws the same noise, haze and directions at every level. Precision stays (16-bit pictures keep their
    grey levels) except through JPEG, which codes 8 bits. Presets leave out their colour steps on grey pictures.

    Args:
        image: in [0, 1], of 1 or 3 channels.
        shifts: ``old_endoscope@3``, several joined by ``+``, or what :func:`parse` made of them.
        seed: decides all that is drawn; derive it from the case.
        field_of_view: outside of it nothing changes; default: all but the black regions at the border.

    Raises:
        UnknownName: no such quality shift.
        ConfigError: no level, or not a whole number from 0 to 5.
        DataError: not a picture of 1 or 3 channels in [0, 1]; a grey picture where only colours would change.
    """
    chosen = [s for s in (parse(shifts) if isinstance(shifts, str) else shifts) if s.level]
    _check(image, chosen)
    if not chosen:
        return image
    original = image.detach().cpu().numpy().astype(np.float32)
    fringe = _FRINGE if len(original) == 3 else 0
    inside = lit(original, fringe=fringe) if field_of_view is None else field_of_view.cpu().numpy()
    if not inside.any():
        return image
    picture = original
    for place, shift in enumerate(chosen):
        for index, step in enumerate(QUALITY[shift.name].steps):
            random = numpy_generator(seed, "quality", place, shift.name, index)
            picture = step.apply(picture, step.amounts[shift.level - 1], do.Frame(inside, random))
            picture = np.where(inside, picture, original)
    return torch.from_numpy(picture).to(image.device)


def _check(image: Tensor, shifts: Collection[QualityShift]) -> None:
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise DataError(
            f"Quality shifts: the image is {'×'.join(map(str, image.shape))}; [1 or 3, height, width] is required. "
            "Degrade a volume slice by slice."
        )
    if not image.is_floating_point() or not (float(image.min()) >= 0 and float(image.max()) <= 1):
        raise DataError(
            f"Quality shifts: {image.dtype} intensities span {float(image.min()):.6g} … {float(image.max()):.6g}; real "
            "numbers in [0, 1] are required. Scale the picture there."
        )
    colored = [str(s) for s in shifts if QUALITY[s.name].needs_color]
    if colored and len(image) == 1:
        raise DataError(
            f"Quality shift {colored[0]!r}: the image has 1 channel; colours can change where there are 3. Choose "
            f"another one: {', '.join(name for name, q in QUALITY.items() if not q.needs_color)}."
        )


def _is_quality(part: str, own: Collection[str], *, where: str) -> bool:
    name, _, amount = part.partition("@")
    if name in QUALITY and name in own and amount == "1":
        raise ConfigError(
            f"Domain {where!r}: {name!r} is a preset or knob here and also a quality shift, so that {part!r} could be "
            f"either. Write '{name}@1.0' for the whole way to the former; of the latter, levels 2 to 5 can be named "
            "here, and level 1 by the dataset 'shifted' of this one."
        )
    return name in QUALITY and (name not in own or amount in {"2", "3", "4", "5"})


def _read(part: str, *, where: str) -> QualityShift:
    name, _, amount = part.partition("@")
    if name not in QUALITY:
        raise UnknownName("quality shift", name, QUALITY, where=where)
    if amount not in {"0", "1", "2", "3", "4", "5"}:
        raise ConfigError((f"{where}: " if where else "") + _no_level(name, amount or "missing"))
    return QualityShift(name, int(amount))


def _no_level(name: str, found: str) -> str:
    return (
        f"Quality shift {name!r}: the level is {found}; a whole number from 1 (weakest) to 5 is required. Write "
        f"'{name}@3'. (Strengths from 0 to 1 belong to knobs and presets.)"
    )
