"""Simulated shifts of held-out source images: the vendor simulator's presets at several strengths.

Nothing here knows a scanner of the user's: a repair that withstands three made-up machines is no promise for a fourth.
The simulator works on pictures in [0, 1]. Other intensities (z-scores, Hounsfield units, arbitrary MR units) are scaled
there by the image's 1st and 99th percentile and scaled back; volumes are shifted slice by slice along their first axis.
There is no simulator of MR or CT scanners: for them, ``ultrasound`` is a stress test of contrast, resolution and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unshift.errors import ConfigError
from unshift.experiment.content import intensity_range
from unshift.phantom import vendor
from unshift.phantom.knobs import Knobs
from unshift.randomness import derive
from unshift.sample import Sample

Kind = Literal["auto", "ultrasound", "photo"]


@dataclass(frozen=True)
class Shift:
    """A simulated vendor.

    Args:
        name: ``B@0.67``: the preset, and how far towards it.
        kind: of the simulator.
    """

    name: str
    preset: str
    strength: float
    kind: str
    knobs: Knobs


def simulated_shifts(kind: str, strengths: Sequence[float], presets: Sequence[str] = ()) -> list[Shift]:
    """Every preset of the simulator (or those named) at every strength, weakest first.

    Raises:
        UnknownName: no such simulator or preset.
        ConfigError: no strength, one that stands twice, or one outside (0, 1].
    """
    machine = vendor.simulator(kind)
    wrong = [s for s in strengths if not 0 < s <= 1]
    if not strengths or wrong or len(set(strengths)) != len(strengths):
        raise ConfigError(f"`strengths`: {list(strengths)}; numbers above 0, to 1, are required, each once.")
    return [
        Shift(f"{preset}@{strength:g}", preset, strength, kind, machine.knobs(f"+{preset}@{strength!r}"))
        for preset in presets or machine.presets
        for strength in sorted(strengths)
    ]


def pick_kind(samples: Sequence[Sample]) -> str:
    """``photo`` for colour pictures; ``ultrasound`` for grey ones, also where grey is repeated in three channels."""
    is_colored = any(len(s.image) == 3 and not torch.equal(s.image[0], s.image[1]) for s in samples)
    return "photo" if is_colored else "ultrasound"


def shifted(sample: Sample, shift: Shift, *, seed: int = 0) -> Sample:
    """``sample`` as another vendor would show it, as a case of the domain ``shift.name``; the grid stays.

    Raises:
        DataError: the simulator cannot take its channels.
    """
    low, high = intensity_range([sample])
    high = high if high > low else low + 1
    unit = ((sample.image - low) / (high - low)).clamp(0, 1)
    own = derive(seed, "robustify", "shift", sample.case)
    if unit.ndim == 3:
        image = _simulated(unit, shift, own, sample.field_of_view)
    else:
        fields = [None] * unit.shape[1] if sample.field_of_view is None else list(sample.field_of_view)
        slices = enumerate(zip(unit.unbind(1), fields, strict=True))
        image = torch.stack([_simulated(s, shift, derive(own, i), f) for i, (s, f) in slices], dim=1)
    return sample.replace(image=low + (high - low) * image, domain=shift.name)


def _simulated(picture: Tensor, shift: Shift, seed: int, field_of_view: Tensor | None) -> Tensor:
    return vendor.simulate(picture.contiguous(), shift.kind, shift.knobs, seed=seed, field_of_view=field_of_view)


def describe(kind: str, samples: Sequence[Sample]) -> str:
    """What the shifts are and what they are not, for the report."""
    text = (
        f"Shifts are made by the vendor simulator `{kind}`: presets "
        f"{', '.join(vendor.simulator(kind).presets)}, moved towards by the strength behind the @. Geometry stays."
    )
    if any(len(s.space) == 3 for s in samples):
        text += " Volumes are shifted slice by slice."
    if any(intensity_range([s]) != (0.0, 1.0) for s in samples):
        text += (
            " Intensities outside [0, 1] are scaled by each image's 1st and 99th percentile. No MR or CT scanner is "
            "simulated: take it for a stress test of contrast, resolution and noise."
        )
    return text
