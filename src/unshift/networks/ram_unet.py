"""The small U-Net of RAM-DSIR: 16 to 256 channels, three convolutions a level, bilinear upsampling.

Zhou, Qi, Shi, "Generalizable Medical Image Segmentation via Random Amplitude Mixup and Domain-Specific Image
Restoration", ECCV 2022. Encoder exactly 1,967,904 parameters from 3 channels, segmentation decoder 1,217,362 to 2
outputs. Written from a description of the layers; the authors' code carries no licence and was not used. In three
dimensions, which the paper does not have, upsampling is trilinear.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.layers.convolution import ActivationName, NormName, conv_block, convolution, normalization
from unshift.networks.pretrained import WeightsConfig, begin_from_file
from unshift.networks.sizing import check_input
from unshift.sample import Task

LEVELS = 5


class RamUNetConfig(WeightsConfig):
    """``width`` is the number of channels of the first level; each further level doubles it."""

    width: int = Field(default=16, ge=1)
    norm: NormName = "batch"
    activation: ActivationName = "relu"


def _level(dims: int, inputs: int, outputs: int, *, config: RamUNetConfig) -> nn.Sequential:
    """Three convolutions with norm; the first has no activation."""
    return nn.Sequential(
        convolution(dims, inputs, outputs),
        normalization(config.norm, dims, outputs),
        conv_block(dims, outputs, outputs, norm=config.norm, act=config.activation),
        conv_block(dims, outputs, outputs, norm=config.norm, act=config.activation),
    )


class Encoder(nn.Module):
    """Five levels, 2×2 max-pool between them."""

    def __init__(self, dims: int, channels: int, config: RamUNetConfig) -> None:
        super().__init__()
        widths = [config.width * 2**i for i in range(LEVELS)]
        inputs = [channels, *widths[:-1]]
        self.levels = nn.ModuleList(_level(dims, i, o, config=config) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Images -> features of strides 1, 2, 4, 8, 16."""
        found = [self.levels[0](images)]
        for level in self.levels[1:]:
            found.append(level(self.pool(found[-1])))
        return found


class _Up(nn.Module):
    """Lower the channels (not in the deepest block), upsample, halve, concatenate after the skip, mix."""

    def __init__(self, dims: int, planes: int, *, deepest: bool, config: RamUNetConfig) -> None:
        super().__init__()
        settings = {"norm": config.norm, "act": config.activation}
        self.lower = nn.Identity() if deepest else conv_block(dims, 2 * planes, planes, **settings)  # type: ignore[arg-type]
        mode = "bilinear" if dims == 2 else "trilinear"
        self.enlarge = nn.Upsample(scale_factor=2, mode=mode, align_corners=False)
        self.halve = conv_block(dims, planes, planes // 2, kernel=1, **settings)  # type: ignore[arg-type]
        self.mix = conv_block(dims, planes, planes, **settings)  # type: ignore[arg-type]

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return self.mix(torch.cat([skip, self.halve(self.enlarge(self.lower(deep)))], dim=1))


class Decoder(nn.Module):
    """Four upward blocks and a 3×3 head."""

    def __init__(self, dims: int, outputs: int, config: RamUNetConfig) -> None:
        super().__init__()
        planes = [config.width * 2**i for i in range(LEVELS - 1, 0, -1)]
        self.blocks = nn.ModuleList(_Up(dims, p, deepest=i == 0, config=config) for i, p in enumerate(planes))
        self.head = convolution(dims, planes[-1], outputs)

    def forward(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Five features, shallow to deep -> logits at the first one's size."""
        x = features[-1]
        for block, skip in zip(self.blocks, reversed(features[:-1]), strict=True):
            x = block(x, skip)
        return self.head(x)


def _initialize(module: nn.Module) -> None:
    """Kaiming-normal (fan out) for convolutions; norms begin as scale 1 and shift 0, which is torch's default."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class RamUNet(Network):
    """``encoder`` and ``decoder`` are modules of their own: RAM-DSIR gives the encoder a second decoder."""

    Config = RamUNetConfig
    size_divisor = 2 ** (LEVELS - 1)

    def __init__(self, config: RamUNetConfig, task: Task, channels: int | None = None) -> None:
        super().__init__(config, task, channels)
        self.encoder = Encoder(task.spatial_dims, self.in_channels, config)
        self.decoder = Decoder(task.spatial_dims, task.num_classes, config)
        self.apply(_initialize)
        begin_from_file(self, config.weights)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """``level_1`` (stride 1) to ``level_5`` (stride 16), the bottleneck."""
        return tuple(Tap(f"level_{i + 1}", 2**i, self.config.width * 2**i) for i in range(LEVELS))

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        check_input(self, images)

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> five features."""
        return self.encoder(images)

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Five features -> logits at the input's size."""
        return self.decoder(features)


MEMBER = RamUNet
