"""From an image of any size to probabilities on its own grid: resized as a whole, or by sliding windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from unshift.errors import ConfigError, ShapeMismatch
from unshift.geometry import InputConfig, resize_image, stack
from unshift.predict.settings import PredictConfig

Network = Callable[[Tensor], Tensor]
"""Images [batch, channel, *space] -> probabilities [batch, class, *space] of the same space."""


def check_size(size: Sequence[int], divisor: int) -> None:
    """Raise :class:`ConfigError` that names the nearest good size unless every entry is a multiple of ``divisor``."""
    if all(n % divisor == 0 for n in size):
        return
    near = [max(divisor, int(n / divisor + 0.5) * divisor) for n in size]
    raise ConfigError(
        f"input.size: {list(size)} for a network that needs multiples of {divisor} along every axis. "
        f"The nearest size is {near}."
    )


def predict_image(
    image: Float[Tensor, "channel *space"], network: Network, *, size_config: InputConfig, config: PredictConfig
) -> Float[Tensor, "class *space"]:
    """Probabilities on the image's own grid, on the image's device.

    A volume with a 2-D input size is predicted slice by slice along axis 0, each with its neighbours as channels.

    Raises:
        ShapeMismatch: the image's axes do not fit the input size.
    """
    dimensions = image.ndim - 1
    if dimensions == len(size_config.size) and not size_config.neighbours:
        return _predict_batch(image[None], network, size_config, config)[0]
    if dimensions != 3 or len(size_config.size) != 2:
        raise ShapeMismatch(
            f"Image is {list(image.shape)} [channel, *space] but input.size is {list(size_config.size)} with "
            f"{size_config.neighbours} neighbours; pictures need a 2-D size without neighbours, volumes a 2-D or 3-D "
            "size. Change input.size."
        )
    parts = []
    for indices in torch.arange(image.shape[1]).split(config.batch_size):
        slices = torch.stack([stack(image, int(index), size_config.neighbours) for index in indices])
        parts.append(_predict_batch(slices, network, size_config, config))
    return torch.cat(parts).transpose(0, 1)


def resized(images: Float[Tensor, "batch channel *space"], network: Network, size: tuple[int, ...]) -> Tensor:
    """Images resampled to ``size``, predicted, and the *probabilities* resampled back to the images' grid.

    Linear in both directions (antialiased in 2-D), so that probabilities stay in [0, 1] and sum to 1.
    """
    return _resample(network(_resample(images, size)), tuple(images.shape[2:]))


def slide(
    images: Float[Tensor, "batch channel *space"], network: Network, *, size: tuple[int, ...], config: PredictConfig
) -> Float[Tensor, "batch class *space"]:
    """Overlapping windows at the images' own resolution, blended on probabilities (MONAI's sliding window).

    Images of any size, down to one pixel: those smaller than the window are padded to it, and the padding is cut off.
    """
    space = images.shape[2:]
    padded = pad_to(images, size, constant=config.padding == "constant")
    probabilities = sliding_window_inference(
        padded, size, config.batch_size, network, overlap=config.overlap, mode=config.blend
    )
    assert isinstance(probabilities, Tensor)
    for axis, (longer, n) in enumerate(zip(padded.shape[2:], space, strict=True), start=2):
        probabilities = probabilities.narrow(axis, (longer - n) // 2, n)
    return probabilities


def pad_to(
    images: Float[Tensor, "batch channel *space"], size: Sequence[int], *, constant: bool = False
) -> Float[Tensor, "batch channel *padded"]:
    """Images padded on both sides to at least ``size``: mirrored about the edge pixel, or with zeros.

    Reflection repeats as often as needed, so that a window may be any number of times larger than the image.
    """
    amounts = [max(wanted - n, 0) for wanted, n in zip(size, images.shape[2:], strict=True)]
    if constant:
        pairs = [(amount // 2, amount - amount // 2) for amount in reversed(amounts)]
        return F.pad(images, [side for pair in pairs for side in pair])
    for axis, amount in enumerate(amounts, start=2):
        if amount:
            n = images.shape[axis]
            indices = torch.arange(-(amount // 2), n + amount - amount // 2, device=images.device)
            period = max(2 * (n - 1), 1)
            folded = indices.remainder(period)
            images = images.index_select(axis, torch.minimum(folded, period - folded).clamp(max=n - 1))
    return images


def _predict_batch(images: Tensor, network: Network, size_config: InputConfig, config: PredictConfig) -> Tensor:
    if size_config.mode == "resize":
        return resized(images, network, size_config.size)
    return slide(images, network, size=size_config.size, config=config)


def _resample(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """As :func:`resize_image`, which training uses, for a batch: channels are resampled one by one anyway."""
    return resize_image(images.flatten(0, 1), size).unflatten(0, images.shape[:2])
