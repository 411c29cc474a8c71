"""What a metric is worth when a mask is empty: the written policy, and nothing else decides it.

=====================  ==========================  ==========================  ==========================
metric                 both empty                  prediction empty only       reference empty only
=====================  ==========================  ==========================  ==========================
dice, jaccard, nsd     undefined | 1               0                           0
precision              undefined | 1               undefined (0/0)             0
recall                 undefined | 1               0                           undefined (0/0)
hd, hd95, assd, asd    undefined | 0               diagonal | undefined        diagonal | undefined
=====================  ==========================  ==========================  ==========================

The first of two values is the default. ``both_empty: perfect`` chooses the second one of the first column;
``one_empty: undefined`` chooses the second one for distances. The *diagonal* is that of the whole image in the unit of
the metric, ``sqrt(sum((size · spacing)²))``: a failure costs what the worst possible surface would, and is never
dropped. *Undefined* is NaN: the case leaves the mean and is counted in the table's column of undefined cases. A
correctly empty prediction is undefined by default, because images without the structure would otherwise lift every
mean towards 1 by as much as the dataset has of them; false alarms on such images still score 0, and
:func:`unshift.evaluate.statistics.false_alarms` reports them apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from unshift.config import Config


@dataclass(frozen=True)
class Kind:
    """How to read a metric's values.

    Args:
        better: ``higher`` or ``lower``.
        length: whether it is measured in mm (or px) rather than being a pure number.
    """

    better: Literal["higher", "lower"]
    length: bool

    @property
    def sign(self) -> int:
        """+1 when higher is better, else -1."""
        return 1 if self.better == "higher" else -1


_SHARE, _DISTANCE = Kind("higher", length=False), Kind("lower", length=True)
METRICS: Mapping[str, Kind] = MappingProxyType(
    {
        "dice": _SHARE,
        "jaccard": _SHARE,
        "precision": _SHARE,
        "recall": _SHARE,
        "hd": _DISTANCE,
        "hd95": _DISTANCE,
        "assd": _DISTANCE,
        "asd": _DISTANCE,
        "nsd": _SHARE,
    }
)


class MetricConfig(Config):
    """Settings that change a metric's value."""

    tolerance: float = Field(2.0, gt=0, allow_inf_nan=False, description="of nsd, in mm (px where spacing is unknown)")
    hd95: Literal["max", "pooled"] = Field("max", description="of the directed percentiles; pooled: as MedPy")
    both_empty: Literal["undefined", "perfect"] = Field("undefined", description="prediction and reference are empty")
    one_empty: Literal["diagonal", "undefined"] = Field("diagonal", description="distances when one mask is empty")


@dataclass(frozen=True)
class Verdict:
    """A value that the policy sets, and the reason, as it stands in the scores' column ``note``."""

    value: float
    note: str


def when_empty(
    metric: str, *, prediction_voxels: int, reference_voxels: int, diagonal: float, config: MetricConfig
) -> Verdict | None:
    """The policy's verdict on one metric, or None when both masks have voxels and the metric is simply computed.

    Args:
        metric: a key of :data:`METRICS`.
        prediction_voxels, reference_voxels: sizes of the two masks.
        diagonal: of the image, in mm or px.
        config: which of the table's alternatives hold.
    """
    if prediction_voxels and reference_voxels:
        return None
    if not prediction_voxels and not reference_voxels:
        if config.both_empty == "undefined":
            return Verdict(math.nan, "undefined: prediction and reference are empty")
        return Verdict(0.0 if METRICS[metric].length else 1.0, "prediction and reference are empty: counted as perfect")
    empty = "reference" if prediction_voxels else "prediction"
    if METRICS[metric].length:
        if config.one_empty == "undefined":
            return Verdict(math.nan, f"undefined: the {empty} is empty")
        return Verdict(diagonal, f"the {empty} is empty: image diagonal")
    if (metric, empty) in (("precision", "prediction"), ("recall", "reference")):
        return Verdict(math.nan, f"undefined: the {empty} is empty")
    return Verdict(0.0, f"the {empty} is empty")
