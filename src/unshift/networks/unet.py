"""The U-Net of 64 to 1024 channels, the segmenter of the style-normalization papers.

Ronneberger et al., MICCAI 2015, in the padded layout with batch norm that DINSeg reports (34.53 M parameters): two
3×3 convolutions with norm and ReLU a level, 2×2 max-pool; going up, nearest ×2, a 3×3 convolution that halves the
channels, the skip first in the concatenation, two 3×3 convolutions; a 1×1 convolution at the end. Exactly 34,527,041
parameters from 3 channels to 1 output. The original has valid convolutions, transposed ones, and no norm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.layers.convolution import NormName, conv_block, convolution
from unshift.networks.pretrained import WeightsConfig, begin_from_file
from unshift.networks.sizing import check_input
from unshift.sample import Task


class UNetConfig(WeightsConfig):
    """Widths from shallow to deep; ``outputs`` when it differs from the task's number of classes."""

    widths: tuple[int, ...] = Field(default=(64, 128, 256, 512, 1024), min_length=2)
    norm: NormName = "batch"
    outputs: int | None = Field(default=None, ge=1)


def _two_convolutions(dims: int, inputs: int, outputs: int, *, norm: NormName) -> nn.Sequential:
    return nn.Sequential(
        conv_block(dims, inputs, outputs, norm=norm),
        conv_block(dims, outputs, outputs, norm=norm),
    )


class UNet(Network):
    """U-Net in two or three dimensions, as many as ``task.spatial_dims``."""

    Config = UNetConfig

    def __init__(self, config: UNetConfig, task: Task, channels: int | None = None) -> None:
        super().__init__(config, task, channels)
        widths, norm, dims = config.widths, config.norm, task.spatial_dims
        self.size_divisor = 2 ** (len(widths) - 1)
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        inputs = (self.in_channels, *widths[:-1])
        self.down = nn.ModuleList(_two_convolutions(dims, i, o, norm=norm) for i, o in zip(inputs, widths, strict=True))
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), conv_block(dims, deep, shallow, norm=norm))
            for deep, shallow in steps
        )
        self.merge = nn.ModuleList(_two_convolutions(dims, 2 * shallow, shallow, norm=norm) for _, shallow in steps)
        self.head = convolution(dims, widths[0], config.outputs or task.num_classes, kernel=1)
        begin_from_file(self, config.weights)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """``level_1`` (stride 1) to the bottleneck."""
        return tuple(Tap(f"level_{i + 1}", 2**i, width) for i, width in enumerate(self.config.widths))

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        check_input(self, images)

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature a level, the bottleneck last."""
        found = [self.down[0](images)]
        for block in self.down[1:]:
            found.append(block(self.pool(found[-1])))
        return found

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Skips and bottleneck -> logits at the input's size."""
        x = features[-1]
        for up, merge, skip in zip(self.up, self.merge, reversed(features[:-1]), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(x)


MEMBER = UNet
