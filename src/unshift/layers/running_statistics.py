"""Whose statistics a batch norm keeps: for methods that show one network images of two domains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Those that keep running statistics; group, layer and instance norms keep none."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


@contextmanager
def keeping(module: nn.Module, momentum: float) -> Iterator[None]:
    """Within the block running statistics move by ``momentum`` towards those of each batch; 0: they stay bit for bit.

    What training-mode batch norms compute from does not change: that is the batch at hand, in the block as outside.
    """
    before = [(norm, norm.momentum) for norm in batch_norms(module)]
    for norm, _ in before:
        norm.momentum = momentum
    try:
        yield
    finally:
        for norm, value in before:
            norm.momentum = value


@contextmanager
def by_the_batch(module: nn.Module) -> Iterator[None]:
    """Within the block batch norms compute from the batch at hand, in evaluation mode too, and keep nothing of it."""
    before = [(norm, norm.training) for norm in batch_norms(module)]
    for norm, _ in before:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, mode in before:
            norm.training, norm.track_running_stats = mode, True
