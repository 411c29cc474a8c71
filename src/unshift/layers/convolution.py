"""Convolution, normalization and activation by name, in two and three dimensions.

The U-Nets of this package are built from these, so that ``norm: instance`` or a third dimension is a setting and not
a second network.
"""

from __future__ import annotations

from typing import Literal

from monai.networks.layers.factories import Conv, Norm
from torch import nn

from unshift.errors import ConfigError

NormName = Literal["batch", "instance", "group", "none"]
ActivationName = Literal["relu", "leaky"]

GROUPS = 8


def convolution(dims: int, inputs: int, outputs: int, *, kernel: int = 3) -> nn.Module:
    """A stride-1 convolution with bias that keeps the size; ``kernel`` is odd."""
    return Conv[Conv.CONV, dims](inputs, outputs, kernel_size=kernel, padding=kernel // 2)


def normalization(name: NormName, dims: int, channels: int) -> nn.Module:
    """A normalization layer with learned scale and shift; ``group`` has 8 groups, ``none`` is the identity.

    Raises:
        ConfigError: ``group`` with a number of channels that 8 does not divide.
    """
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return Norm[Norm.BATCH, dims](channels)
    if name == "instance":
        return Norm[Norm.INSTANCE, dims](channels, affine=True)
    if channels % GROUPS:
        raise ConfigError(
            f"norm 'group': a layer has {channels} channels; group norm needs multiples of {GROUPS}. "
            "Change the widths, or use 'batch' or 'instance'."
        )
    return nn.GroupNorm(GROUPS, channels)


def activation(name: ActivationName) -> nn.Module:
    """ReLU, or leaky ReLU with slope 0.01."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(0.01, inplace=True)


def conv_block(
    dims: int, inputs: int, outputs: int, *, kernel: int = 3, norm: NormName = "batch", act: ActivationName = "relu"
) -> nn.Sequential:
    """Convolution, normalization, activation."""
    return nn.Sequential(
        convolution(dims, inputs, outputs, kernel=kernel), normalization(norm, dims, outputs), activation(act)
    )
