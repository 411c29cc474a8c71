"""How the intensities and colors of a domain are distributed: histograms over a spread of its cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from unshift.sample import Sample

Item = TypeVar("Item")

BINS = 64
_TAIL = 0.5
_SHARED = 3.0


@dataclass(frozen=True)
class Distribution:
    """Shares of a domain's pixels per intensity bin.

    Args:
        shares: float64 [channel, bin]; each row sums to 1, or to less when values lie beyond ``edges``.
        edges: float64 [bin + 1].
        images: how many images were counted.
    """

    shares: Float[np.ndarray, "channel bin"]
    edges: Float[np.ndarray, "edge"]
    images: int


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of ``items``, evenly spaced, the first and the last among them when there are two or more."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[len(items) // 2]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def limits_of(domains: Sequence[Sequence[Sample]]) -> list[tuple[float, float]]:
    """The range of each domain's histogram, from a few of its samples.

    (0, 1) for all when every value lies in it (photographs). Otherwise from the 0.5th to the 99.5th percentile, one
    range for all domains as long as none is more than three times as wide as another: then each has its own, because
    arbitrary units (MR) may differ a hundredfold.
    """
    if all(values.min() >= 0 and values.max() <= 1 for values in _all_values(domains)):
        return [(0.0, 1.0)] * len(domains)
    ranges = [_percentiles([valid_values(sample) for sample in samples]) for samples in domains]
    widths = [high - low for low, high in ranges]
    if max(widths) > _SHARED * min(widths):
        return ranges
    return [(min(low for low, _ in ranges), max(high for _, high in ranges))] * len(domains)


def _all_values(domains: Sequence[Sequence[Sample]]) -> Iterator[np.ndarray]:
    return (valid_values(sample) for samples in domains for sample in samples)


def _percentiles(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Outermost percentiles of the images of one domain; (0, 1) when it has none, never an empty range."""
    tails = [np.percentile(v, (_TAIL, 100 - _TAIL)) for v in values] or [np.array([0.0, 1.0])]
    low, high = float(min(t[0] for t in tails)), float(max(t[1] for t in tails))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def distribution(samples: Iterable[Sample], limits: tuple[float, float], channels: int) -> Distribution:
    """Mean over ``samples`` of each image's histogram, so that a large image does not outweigh the others.

    Only the field of view is counted where it is known. Values beyond ``limits`` are in no bin, but count as pixels.
    """
    edges = np.linspace(*limits, BINS + 1)
    total, images = np.zeros((channels, BINS)), 0
    for sample in samples:
        values = valid_values(sample)
        total += np.stack([np.histogram(channel, bins=edges)[0] / max(1, channel.size) for channel in values])
        images += 1
    return Distribution(total / max(1, images), edges, images)


def valid_values(sample: Sample) -> Float[np.ndarray, "channel pixel"]:
    """The values inside the field of view."""
    flat = sample.image.flatten(1)
    if sample.field_of_view is not None and sample.field_of_view.any():
        flat = flat[:, sample.field_of_view.flatten()]
    return flat.numpy()
