"""Weight net and bias net: from the feature map of a style image to one number per channel.

DINSeg (Liu et al., ISBI 2021) says "two convolution and adaptive-pooling operations" and no more. Ours: 3×3 convolution
to a quarter of the channels, ReLU, adaptive average pooling to 4×4, 3×3 convolution back, adaptive average pooling to
1×1. They are needed only while units are trained.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from unshift.layers.convolution import convolution

POOLED = 4


class Predictor(nn.Module):
    """A feature map of any size -> one number per channel.

    Args:
        channels: of the feature; the hidden layer has a quarter of them, at least one.
        dims: 2 or 3 spatial axes.
        start: what it gives for every image before training (the last convolution begins with weights 0).
    """

    def __init__(self, channels: int, *, dims: int, start: float) -> None:
        super().__init__()
        hidden = max(channels // 4, 1)
        last = convolution(dims, hidden, channels)
        last.load_state_dict(
            {name: torch.zeros_like(value) for name, value in last.state_dict().items()}
            | {"bias": torch.full((channels,), start)}
        )
        self.layers = nn.Sequential(
            convolution(dims, channels, hidden),
            nn.ReLU(inplace=True),
            Pool[Pool.ADAPTIVEAVG, dims](POOLED),
            last,
            Pool[Pool.ADAPTIVEAVG, dims](1),
        )

    def forward(self, features: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel"]:
        """Features of style images -> weights, or biases."""
        return self.layers(features).flatten(1)


class UnitPredictor(nn.Module):
    """Both nets of one level: features of style images -> (weight, bias), each [batch, channel]; (1, 0) at first."""

    def __init__(self, channels: int, *, dims: int) -> None:
        super().__init__()
        self.weight = Predictor(channels, dims=dims, start=1.0)
        self.bias = Predictor(channels, dims=dims, start=0.0)

    def forward(
        self, features: Float[Tensor, "batch channel *space"]
    ) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel"]]:
        """One weight and one bias per channel for every style image."""
        return self.weight(features), self.bias(features)
