"""L_BN, the statistics-matching loss of DINSeg, and the weight and bias nets that are trained by it.

After instance normalization every channel of a content feature has mean 0 and deviation √(variance / (variance + eps)),
so that the restyled feature's mean is the bias, and its deviation |weight| times that. The loss is computed from these:
each content image is encoded once, and the result is that of restyling its features anew in every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unshift.contracts import Network
from unshift.layers.restyle import DEAD, Moments, statistics
from unshift.plugins.frozen import batches, style_statistics
from unshift.plugins.predictors import UnitPredictor
from unshift.plugins.training import draw
from unshift.plugins.units import Style, gap
from unshift.randomness import derive
from unshift.sample import Sample

Terms = dict[str, Float[Tensor, ""]]


def l_bn(
    weight: Float[Tensor, "batch channel"],
    bias: Float[Tensor, "batch channel"],
    content: Float[Tensor, "batch channel"],
    style: Moments,
    *,
    eps: float = 1e-5,
) -> Float[Tensor, ""]:
    """‖μ(F_d) − μ(F_s)‖ + ‖σ(F_d) − σ(F_s)‖, vector norms over channels, mean over the batch.

    Args:
        weight, bias: of the unit, one or [1, channel] for all.
        content: deviation of the content feature's channels. One below a thousandth of the weight, which the unit makes
            constant, counts as |weight| all the same: otherwise the loss would say nothing of that weight.
        style: mean and deviation of the style feature's channels.
        eps: of the unit.
    """
    normalized = torch.where(content < DEAD * weight.abs(), 1.0, content * (content.square() + eps).rsqrt())
    return gap((bias, (weight * normalized).abs()), style[1], style[0]).mean()


class Matching:
    """L_BN of units at chosen taps on content images that are drawn at random.

    Args:
        network: frozen, in evaluation mode.
        content: one or more images.
        taps: indices of the network's taps.
        eps: of the units.
    """

    def __init__(self, network: Network, content: Sequence[Sample], taps: Sequence[int], *, eps: float) -> None:
        found = style_statistics(network, content, field_of_view=False)
        self.content = [found[i][1] for i in taps]
        self.names, self.eps = [network.taps[i].name for i in taps], eps

    def terms(self, units: Sequence[Style], styles: Sequence[Moments], generator: torch.Generator) -> Terms:
        """One term per tap: each style image meets a content image of its own."""
        index = draw(generator, len(self.content[0]), len(styles[0][0]))
        parts = zip(self.names, units, self.content, styles, strict=True)
        return {
            name: l_bn(unit.weights, unit.biases, content[index], style, eps=self.eps)
            for name, unit, content, style in parts
        }


class LevelPredictors(nn.Module):
    """Weight and bias nets for every chosen tap of a network; initial weights are a function of ``seed``."""

    def __init__(self, network: Network, taps: Sequence[int], *, seed: int) -> None:
        super().__init__()
        self.taps, dims = tuple(taps), network.task.spatial_dims
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "weight and bias nets"))
            self.nets = nn.ModuleList(UnitPredictor(network.taps[i].channels, dims=dims) for i in taps)
        self.to(network.input_mean.device)

    def forward(
        self, network: Network, samples: Sequence[Sample], *, field_of_view: bool = True
    ) -> tuple[list[Style], list[Moments]]:
        """For every tap, weight and bias that each sample gives as style, and its feature's statistics.

        Args:
            network: frozen, in evaluation mode.
            samples: style images.
            field_of_view: statistics inside of it, where a sample has one.
        """
        units: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.taps]
        styles: list[list[Moments]] = [[] for _ in self.taps]
        for images, inside in batches(samples, network.input_mean.device):
            with torch.no_grad():
                features = network.encode(images)
            for level, (net, tap) in enumerate(zip(self.nets, self.taps, strict=True)):
                units[level].append(net(features[tap]))
                styles[level].append(statistics(features[tap], inside if field_of_view else None))
        return [Style(*_joined(pairs)) for pairs in units], [_joined(pairs) for pairs in styles]


def _joined(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    first, second = zip(*pairs, strict=True)
    return torch.cat(first), torch.cat(second)
