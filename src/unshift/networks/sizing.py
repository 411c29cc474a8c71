"""What a network accepts: the one check of an input's axes, channels and sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from unshift.contracts import Network, Tap
from unshift.errors import ShapeMismatch


def nearest_size(sides: Sequence[int], divisor: int, *, least: int = 1) -> tuple[int, ...]:
    """The nearest size of which each side is a multiple of ``divisor`` and at least ``least`` times it.

    A side midway between two multiples goes up: padding loses nothing.
    """
    return tuple(max(least, (side + divisor // 2) // divisor) * divisor for side in sides)


def check_input(network: Network, images: Tensor, *, name: str = "") -> None:
    """Raise unless ``network`` can take ``images``.

    Args:
        name: of the network in the message; default: its class.

    Raises:
        ShapeMismatch: wrong number of axes or channels; a side that is no multiple of the network's ``size_divisor``,
            with the nearest good size; a side so small that an instance norm would see a single pixel.
    """
    name, dims, divisor = name or type(network).__name__, network.task.spatial_dims, network.size_divisor
    if images.ndim != dims + 2:
        raise ShapeMismatch(
            f"{name}: images have {images.ndim} axes; a network of {dims} spatial dimensions needs "
            f"[batch, channel, {'height, width' if dims == 2 else 'depth, height, width'}]. Add or cut axes."
        )
    if images.shape[1] != network.in_channels:
        raise ShapeMismatch(
            f"{name}: images have {images.shape[1]} channel(s); the network was built for {network.in_channels}. "
            "Check the task's `channels` and the input's `neighbours`."
        )
    sides = tuple(images.shape[2:])
    # Whether there are instance norms matters, and is looked up, for small images only.
    if min(sides) < 8 * divisor or any(side % divisor for side in sides):
        _check_sides(name, sides, divisor, least=least_factor(network))


def least_factor(network: Network) -> int:
    """The smallest side that ``network`` takes, in units of its ``size_divisor``.

    2 with instance norms, which cannot normalize a single pixel at the deepest level; more where the network says so
    in an attribute ``least_factor``; else 1.
    """
    own = network.least_factor
    return max(own, 2) if any(isinstance(module, _InstanceNorm) for module in network.modules()) else own


def _check_sides(name: str, sides: tuple[int, ...], divisor: int, *, least: int) -> None:
    good = nearest_size(sides, divisor, least=least)
    wrong = any(side % divisor or side < least * divisor for side in sides)
    if wrong:
        raise ShapeMismatch(
            f"{name}: images are {times(sides)}; each side must be a multiple of {divisor} and at least "
            f"{least * divisor}. The nearest good size is {times(good)}: resize or pad the images to it."
        )


def times(sides: Sequence[int]) -> str:
    """``(24, 32)`` -> ``24×32``."""
    return "×".join(str(side) for side in sides)


@torch.no_grad()
def measure(
    body: nn.Module, features: Callable[[Tensor], Sequence[Tensor]], *, channels: int, side: int, dims: int
) -> tuple[Tap, ...]:
    """Taps ``level_1`` … of what ``features`` returns, by looking at one black image in evaluation mode.

    Measured, not declared: a tap's stride and channels cannot disagree with the network.
    """
    training = body.training
    body.eval()
    found = features(torch.zeros(1, channels, *[side] * dims))
    body.train(training)
    return tuple(
        Tap(f"level_{index}", side // feature.shape[-1], feature.shape[1])
        for index, feature in enumerate(found, start=1)
    )
