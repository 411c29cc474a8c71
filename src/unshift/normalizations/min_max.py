"""Each channel of each image or volume to [0, 1] between two percentiles.

Percentiles, because with the true minimum and maximum a single hot voxel shifts everything; ``low: 0, high: 100`` is
plain min-max. They are taken inside the field of view (linear interpolation between order statistics) and values beyond
are clipped; outside the field of view the result is 0. Where the two percentiles coincide although the channel is not
constant (a few bright pixels on black), the true minimum and maximum are used instead, so that content is never
erased. A constant channel becomes 0 and is logged as a warning.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.normalizations.inside import channels_inside, compose
from unshift.sample import Sample


class MinMaxConfig(Config):
    """Percentiles that become 0 and 1."""

    low: float = 0.5
    high: float = 99.5

    @model_validator(mode="after")
    def _check(self) -> MinMaxConfig:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles are {self.low:g} and {self.high:g}; 0 ≤ low < high ≤ 100 is required")
        return self


class MinMax(Normalization):
    """(x - low) / (high - low), clipped to [0, 1], per image and channel."""

    Config = MinMaxConfig

    def views(self, sample: Sample) -> list[Sample]:
        """One view, float32 in [0, 1].

        Raises:
            DataError: the field of view is empty.
        """
        return [compose(sample, [self._scale(values) for values in channels_inside(sample)])]

    def _scale(self, values: Float[Tensor, " inside"]) -> Float[Tensor, " inside"]:
        # NumPy, because torch.quantile refuses more than 16 million values
        array = values.cpu().numpy().astype(np.float64)
        low, high = np.percentile(array, [self.config.low, self.config.high])
        if low == high:
            low, high = float(array.min()), float(array.max())
        if low == high:
            return values.new_zeros(values.shape)
        return ((values.double() - float(low)) / float(high - low)).clamp(0, 1).to(values.dtype)


MEMBER = MinMax
