"""Batch norm from the test images themselves, for comparison with published protocols that use it.

RAM-DSIR's test scripts (as Dual-Normalization's, whose author calls it intended) put every batch norm back into
training mode: means and deviations are then those of the images that are predicted together, so a prediction depends
on which and how many they are. That is adaptation to the test set, and tables that rest on it are marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from unshift.errors import ConfigError

T = TypeVar("T")


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block every batch norm uses the statistics of its input; running ones are neither used nor changed.

    The authors' code also updates the running statistics, which nothing reads afterwards.

    Raises:
        ConfigError: the model has no batch norm, so the setting would change nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise ConfigError(
            "predict.batch_norm: 'batch' for a network without batch norm, which it would not change. "
            "Set it to running."
        )
    before = [(norm, norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, training, tracks in before:
            norm.training, norm.track_running_stats = training, tracks


def groups(items: Sequence[tuple[str, T]], size: int) -> Iterator[list[T]]:
    """Neighbours of equal domain, ``size`` at most: which images share a batch; items are (domain, what)."""
    group: list[T] = []
    domain = ""
    for place, item in items:
        if group and (place != domain or len(group) == size):
            yield group
            group = []
        domain = place
        group.append(item)
    if group:
        yield group
