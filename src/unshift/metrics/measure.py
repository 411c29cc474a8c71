"""All metrics of one prediction of one region, under the written policy for empty masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unshift.errors import UnknownName
from unshift.metrics import overlap, surface
from unshift.metrics.masks import Mask, as_pair
from unshift.metrics.overlap import Overlap
from unshift.metrics.policy import METRICS, MetricConfig, Verdict, when_empty
from unshift.metrics.surface import SurfaceDistances


@dataclass(frozen=True)
class Measurement:
    """One metric's value.

    Args:
        metric: a key of :data:`unshift.metrics.policy.METRICS`.
        value: NaN exactly when undefined, and ``note`` then says why.
        unit: ``mm``, ``px`` or ``1``.
        note: what the policy for empty masks did, or nothing.
    """

    metric: str
    value: float
    unit: str
    note: str = ""


def measure(
    prediction: Mask,
    reference: Mask,
    metrics: Sequence[str],
    *,
    spacing: tuple[float, ...] | None = None,
    config: MetricConfig | None = None,
) -> tuple[Overlap, list[Measurement]]:
    """The voxel counts of two masks and each of ``metrics``; surfaces are compared once for all of them.

    Args:
        prediction, reference: boolean masks on one grid; either may be empty.
        metrics: names, in the order wanted.
        spacing: mm per voxel in array axis order, or None when unknown: distances are then in ``px``.
        config: tolerance, way of hd95, policy.

    Raises:
        UnknownName: a metric that does not exist.
        DataError, ShapeMismatch: as :func:`unshift.metrics.surface.surface_distances`.
    """
    config = config or MetricConfig()
    for name in metrics:
        if name not in METRICS:
            raise UnknownName("metric", name, METRICS)
    p, r = as_pair(prediction, reference)
    counts = overlap.overlap(p, r)
    step = surface.checked_spacing(spacing, p.ndim)
    diagonal = math.hypot(*(n * s for n, s in zip(p.shape, step, strict=True)))
    verdicts = {
        name: when_empty(
            name,
            prediction_voxels=counts.prediction,
            reference_voxels=counts.reference,
            diagonal=diagonal,
            config=config,
        )
        for name in metrics
    }
    surfaces = None
    if any(verdict is None and name in _SURFACE for name, verdict in verdicts.items()):
        surfaces = surface.surface_distances(p, r, spacing)
    length = "px" if spacing is None else "mm"
    found = []
    for name, verdict in verdicts.items():
        settled = verdict or Verdict(_value(name, counts, surfaces, config), "")
        found.append(Measurement(name, settled.value, length if METRICS[name].length else "1", settled.note))
    return counts, found


_OVERLAP = {
    "dice": overlap.dice,
    "jaccard": overlap.jaccard,
    "precision": overlap.precision,
    "recall": overlap.recall,
}
_SURFACE = frozenset(METRICS) - frozenset(_OVERLAP)


def _value(name: str, counts: Overlap, surfaces: SurfaceDistances | None, config: MetricConfig) -> float:
    if name in _OVERLAP:
        return _OVERLAP[name](counts)
    assert surfaces is not None
    match name:
        case "nsd":
            return surface.nsd(surfaces, config.tolerance)
        case "hd95":
            return surface.hd95(surfaces, way=config.hd95)
        case "assd":
            return surface.assd(surfaces)
        case "asd":
            return surface.asd(surfaces)
        case _:
            return surface.hd(surfaces)
