"""Batch norm of the test batch: what it does, that it leaves no trace, and who shares a batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unshift.errors import ConfigError
from unshift.predict.predictor import evaluating
from unshift.predict.transductive import batch_statistics, groups


def model() -> nn.Module:
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(5.0)
    norm.running_var.fill_(9.0)
    return nn.Sequential(norm, nn.Dropout(0.9))


def test_statistics_are_the_batchs_and_nothing_is_left_behind() -> None:
    network, images = model(), torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with evaluating(network), batch_statistics(network):
        found = network(images)
    mean, variance = images.mean((0, 2, 3), keepdim=True), images.var((0, 2, 3), keepdim=True, unbiased=False)
    torch.testing.assert_close(found, (images - mean) / (variance + 1e-5).sqrt())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert network.training and network[0].training and network[0].track_running_stats
    with evaluating(network):
        torch.testing.assert_close(network(images), (images - 5) / (9 + 1e-5) ** 0.5)


def test_modes_come_back_after_an_error() -> None:
    network = model().eval()
    with pytest.raises(ValueError, match="stop"), batch_statistics(network):
        raise ValueError("stop")
    assert not network[0].training and network[0].track_running_stats


def test_without_batch_norm_it_is_an_error() -> None:
    with (
        pytest.raises(ConfigError, match="'batch' for a network without batch norm"),
        batch_statistics(nn.Conv2d(1, 1, 1)),
    ):
        pass


def test_groups_are_neighbours_of_one_domain() -> None:
    items = [("A", 1), ("A", 2), ("A", 3), ("B", 4), ("A", 5)]
    assert list(groups(items, 2)) == [[1, 2], [3], [4], [5]]
    assert list(groups(items, 1)) == [[1], [2], [3], [4], [5]]
    assert list(groups(items[:0], 2)) == []
