"""What features say of an image: whether it looks like a source image at all, and which one it looks like most.

The gate is ours, not the papers': an image that the network knows needs no repair, and restyling it costs accuracy.
No label is looked at, and no image of a target.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unshift.layers.restyle import Moments

LEAST_IMAGES = 10
"""Of fewer source images, the gate cannot tell what is usual."""
FOLDS, QUANTILE = 10, 0.99
MOST_COMPONENTS, IMAGES_A_COMPONENT = 16, 8
BEGIN, END = 1.25, 1.75
"""The gate opens between these multiples of the threshold: images the network was not trained on lie a bit farther."""
SMALLEST = 1e-2
"""A spread below this share of the median one is taken for that."""


class Gate(nn.Module):
    """How far an image's channel means and deviations lie outside what source images show, as a factor on strength.

    The distance is Mahalanobis' under probabilistic principal components (Tipping & Bishop 1999) of the standardized
    statistics: what source images vary together in counts little, what they never do counts much. The threshold is the
    0.99 quantile of the distances of source images from the others (ten-fold).
    """

    center: Tensor
    spread: Tensor
    components: Tensor
    variances: Tensor
    rest: Tensor
    threshold: Tensor
    STATE = ("center", "spread", "components", "variances", "rest", "threshold")

    def __init__(self, *state: Tensor) -> None:
        super().__init__()
        for name, value in zip(self.STATE, state, strict=True):
            # In one layout: components come transposed from the decomposition, and sums must not depend on that.
            self.register_buffer(name, value.detach().clone(memory_format=torch.contiguous_format))

    @classmethod
    def fit(cls, found: Sequence[Moments]) -> Gate:
        """From mean and deviation [image, channel] at every tap that the gate looks at; ``LEAST_IMAGES`` or more."""
        values = _vector(found).double().cpu()
        fold = torch.arange(len(values)) % FOLDS
        distances = [_distance(values[fold == k], _model(values[fold != k])) for k in range(FOLDS)]
        threshold = torch.quantile(torch.cat(distances), QUANTILE)
        state = (*_model(values), threshold.clamp_min(1e-12))
        return cls(*(part.to(found[0][0].device, torch.float32) for part in state))

    def forward(self, found: Sequence[Moments]) -> Float[Tensor, " batch"]:
        """Mean and deviation [batch, channel] at the same taps -> factor, 0 for what looks like the source, to 1."""
        model = (self.center, self.spread, self.components, self.variances, self.rest)
        distance = _distance(_vector(found).to(self.center), model) / self.threshold
        return ((distance - BEGIN) / (END - BEGIN)).clamp(0, 1)


class Nearest(nn.Module):
    """Bottleneck mean and deviation [image, channel] of style images, by which the nearest one is found."""

    mean: Tensor
    deviation: Tensor
    STATE = ("mean", "deviation")

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("deviation", deviation.detach().clone())

    def distances(self, found: Moments) -> Float[Tensor, "batch image"]:
        """Euclidean distances of means and deviations [batch, channel] to those of every style image."""
        bank = torch.cat([self.mean, self.deviation], dim=1)
        return torch.cdist(_vector([found]).to(bank), bank, compute_mode="donot_use_mm_for_euclid_dist")

    def forward(self, found: Moments) -> Int[Tensor, " batch"]:
        """Index of the nearest style image."""
        return self.distances(found).argmin(dim=1)


def _vector(found: Sequence[Moments]) -> Float[Tensor, "image value"]:
    return torch.cat([values for pair in found for values in pair], dim=1)


def _model(values: Float[Tensor, "image value"]) -> tuple[Tensor, ...]:
    """Center, spread, principal components of the standardized values, their variances, and that of the others."""
    center, spread = values.mean(dim=0), values.std(dim=0, correction=0)
    spread = spread.clamp_min(SMALLEST * float(spread.median())).clamp_min(1e-12)
    count, size = values.shape
    kept = min(MOST_COMPONENTS, count // IMAGES_A_COMPONENT, size // 2)
    _, scales, components = torch.linalg.svd((values - center) / spread, full_matrices=False)
    variances = scales.square() / count
    rest = variances[kept:].sum() / (size - kept)
    return center, spread, components[:kept], variances[:kept].clamp_min(1e-12), rest.clamp_min(1e-12)


def _distance(values: Float[Tensor, "image value"], model: Sequence[Tensor]) -> Float[Tensor, " image"]:
    center, spread, components, variances, rest = model
    standardized = (values - center) / spread
    along = (standardized @ components.T).square()
    across = (standardized.square().sum(dim=1) - along.sum(dim=1)).clamp_min(0)
    return (((along / variances).sum(dim=1) + across / rest) / values.shape[1]).sqrt()
