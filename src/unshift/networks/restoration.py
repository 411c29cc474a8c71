"""The second decoder of RAM-DSIR: from the bottleneck alone back to the image, with norms of each source domain's own.

Block of p channels: convolution 3 to p/2, norm, ReLU; upsampling by 2; convolution 1 to p/2, norm, ReLU; convolution 3
to p/2, norm, ReLU. Blocks until the image's size is reached, then a convolution 3 to the image's channels and tanh. For
the bottleneck of ``ram_unet`` (256 channels, stride 16) and three channels exactly 614,755 parameters for three
domains and 617,635 for five. There are no skips: what the bottleneck lost cannot be restored. Written from a
description of the layers; the authors' code carries no licence and was not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.layers.convolution import convolution
from unshift.layers.domain_batch_norm import DomainBatchNorm


class _Up(nn.Module):
    """Halve the channels, upsample, mix twice."""

    def __init__(self, dims: int, planes: int, domains: int) -> None:
        super().__init__()
        half = max(planes // 2, 1)
        self.halve, self.turn = convolution(dims, planes, half), convolution(dims, half, half, kernel=1)
        self.mix = convolution(dims, half, half)
        self.norms = nn.ModuleList(DomainBatchNorm(domains, half) for _ in range(3))
        mode = "bilinear" if dims == 2 else "trilinear"
        self.enlarge = nn.Upsample(scale_factor=2, mode=mode, align_corners=False)

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        first, second, third = self.norms
        x = self.enlarge(F.relu(first(self.halve(x), counts), inplace=True))
        x = F.relu(second(self.turn(x), counts), inplace=True)
        return F.relu(third(self.mix(x), counts), inplace=True)


class RestorationDecoder(nn.Module):
    """Bottleneck -> image in [-1, 1].

    Args:
        dims: number of spatial axes.
        tap: the bottleneck; its stride is a power of 2.
        channels: of the image.
        domains: names of the source domains, in the order of their norms.

    Raises:
        ConfigError: the stride is not a power of 2, or there is no domain.
    """

    def __init__(self, dims: int, tap: Tap, channels: int, domains: Sequence[str]) -> None:
        super().__init__()
        if tap.stride < 2 or tap.stride & (tap.stride - 1):
            raise ConfigError(
                f"Restoration from {tap.name!r}: its stride is {tap.stride}; a power of 2, 2 or more, is required. "
                "Choose a network whose deepest tap is a bottleneck, or set restoration_weight: 0."
            )
        if not domains:
            raise ConfigError("Restoration: 0 source domains; norms are per domain. Name the sources.")
        self.domains = tuple(domains)
        steps = tap.stride.bit_length() - 1
        planes = [max(tap.channels >> step, 1) for step in range(steps + 1)]
        self.blocks = nn.ModuleList(_Up(dims, p, len(self.domains)) for p in planes[:-1])
        self.head = convolution(dims, planes[-1], channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, bottleneck: Float[Tensor, "batch channel *space"], domains: Sequence[str]
    ) -> Float[Tensor, "batch image_channel *image_space"]:
        """Each image restored with its own domain's norms.

        Raises:
            UnknownName: an image of a domain that was not named.
        """
        for name in domains:
            if name not in self.domains:
                raise UnknownName("domain", name, self.domains, where="restoration")
        order = sorted(range(len(domains)), key=lambda row: self.domains.index(domains[row]))
        counts = [sum(name == own for name in domains) for own in self.domains]
        is_sorted = order == list(range(len(order)))
        x = bottleneck if is_sorted else bottleneck[torch.tensor(order, device=bottleneck.device)]
        for block in self.blocks:
            x = block(x, counts)
        x = torch.tanh(self.head(x))
        if is_sorted:
            return x
        back = sorted(range(len(order)), key=order.__getitem__)
        return x[torch.tensor(back, device=x.device)]


def bottleneck_of(network: Network, *, where: str) -> Tap:
    """The deepest tap, where features and logits can be computed apart.

    Raises:
        ConfigError: the network has no taps, or the last is not the deepest.
    """
    taps = network.taps
    if not taps or taps[-1].stride != max(tap.stride for tap in taps):
        found = ", ".join(f"{tap.name} (stride {tap.stride})" for tap in taps) or "none"
        raise ConfigError(
            f"{where}: {type(network).__name__} has the taps {found}; the last one must be the bottleneck. Choose "
            "ram_unet, unet, smp or a FlexibleUNet of monai_net, or set restoration_weight: 0."
        )
    if type(network).restyled is not Network.restyled:
        raise ConfigError(
            f"{where}: {type(network).__name__} cannot be trained from its features, for its encoder and decoder "
            "cannot be called apart. Choose ram_unet, unet, smp or monai_net, or set restoration_weight: 0."
        )
    return taps[-1]


def encoder_parameters(network: Network) -> list[nn.Parameter]:
    """Of the part called ``encoder`` of the network, or of the module that it wraps; empty where there is none."""
    holder = network if hasattr(network, "encoder") else getattr(network, "body", None)
    encoder = getattr(holder, "encoder", None)
    return [p for p in encoder.parameters() if p.requires_grad] if isinstance(encoder, nn.Module) else []
