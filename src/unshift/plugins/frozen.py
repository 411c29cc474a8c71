"""A trained network to look into: nothing of it changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.layers.restyle import Moments, statistics
from unshift.sample import Sample

BATCH = 8
SKIPS = 3
"""Of the deepest skips, how many ``multi`` restyles beside the bottleneck."""


def chosen(taps: Sequence[Tap], levels: str | Sequence[str]) -> tuple[int, ...]:
    """Indices of the taps that ``levels`` means, shallow to deep; ``multi`` is all where there are fewer than four.

    Raises:
        ConfigError: no taps; a name that no tap bears, or that stands twice.
    """
    if not taps:
        raise ConfigError("The network has no taps; a style unit needs one or more. Name them by hand.")
    if levels == "single":
        return (len(taps) - 1,)
    if levels == "multi":
        return tuple(range(max(0, len(taps) - 1 - SKIPS), len(taps)))
    names = [tap.name for tap in taps]
    for name in levels:
        if name not in names:
            raise UnknownName("tap", name, names, where="plugin: levels")
    if not levels or len(set(levels)) != len(levels):
        raise ConfigError(f"plugin: levels are {list(levels)}; one or more names are required, each once.")
    return tuple(sorted(names.index(name) for name in levels))


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and parameters without gradients within the block; both as they were after it."""
    training = [module for module in network.modules() if module.training]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in learning:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad = True


def batches(
    samples: Sequence[Sample], device: torch.device, size: int = BATCH
) -> Iterator[tuple[Float[Tensor, "batch channel *space"], Bool[Tensor, "batch *space"] | None]]:
    """Images and fields of view of neighbors of one shape, in order; None where no field of view of them is known."""
    for _, group in groupby(samples, key=lambda sample: sample.image.shape):
        alike = list(group)
        for part in (alike[i : i + size] for i in range(0, len(alike), size)):
            yield torch.stack([s.image for s in part]).to(device), masks(part, device)


def masks(samples: Sequence[Sample], device: torch.device) -> Bool[Tensor, "batch *space"] | None:
    """Fields of view of samples of one shape, all valid where one's is unknown; None where none is known."""
    if all(s.field_of_view is None for s in samples):
        return None
    full = [torch.ones(s.space, dtype=torch.bool) if s.field_of_view is None else s.field_of_view for s in samples]
    return torch.stack(full).to(device)


def style_statistics(network: Network, samples: Sequence[Sample], *, field_of_view: bool = True) -> list[Moments]:
    """Mean and deviation [sample, channel] of every channel of every tap's feature, one pair a tap.

    Args:
        field_of_view: look only inside of it, where a sample has one.
    """
    found: list[list[Moments]] = [[] for _ in network.taps]
    with torch.no_grad(), frozen(network):
        for images, inside in batches(samples, network.input_mean.device):
            for pairs, feature in zip(found, network.encode(images), strict=True):
                pairs.append(statistics(feature, inside if field_of_view else None))
    return [(torch.cat([mean for mean, _ in pairs]), torch.cat([dev for _, dev in pairs])) for pairs in found]
