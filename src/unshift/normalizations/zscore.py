"""Each channel of each image to mean 0 and standard deviation 1.

Statistics are taken inside the field of view, over the whole volume, in float64, with the population's deviation
(divided by n). Outside the field of view the result is 0, the mean, so that a black surround neither enters the
statistics nor becomes an extreme value. A channel that is constant inside the field of view becomes 0 and is logged as
a warning: there is nothing in it to scale.
"""

from __future__ import annotations

import torch

from unshift.contracts import Normalization
from unshift.normalizations.inside import channels_inside, compose
from unshift.sample import Sample


class ZScore(Normalization):
    """(x - mean) / deviation, per image and channel."""

    def views(self, sample: Sample) -> list[Sample]:
        """One view, float32, unit-free.

        Raises:
            DataError: the field of view is empty.
        """
        scaled = [_standardize(values.double()).float() for values in channels_inside(sample)]
        return [compose(sample, scaled)]


def _standardize(values: torch.Tensor) -> torch.Tensor:
    if values.min() == values.max():
        return torch.zeros_like(values)
    return (values - values.mean()) / values.std(correction=0)


MEMBER = ZScore
