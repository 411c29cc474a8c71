from __future__ import annotations

import pytest
import torch
from torch import nn

from unshift.layers.running_statistics import batch_norms, by_the_batch, keeping


def test_running_statistics_move_as_told_and_outputs_do_not_change() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.InstanceNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False))
    assert batch_norms(model) == [model[0]]
    images = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0)) + 3
    with keeping(model, 0.0):
        inside = model(images)
    assert torch.equal(model[0].running_mean, torch.zeros(2)) and torch.equal(model[0].running_var, torch.ones(2))
    with keeping(model, 0.5):
        model(images)
    torch.testing.assert_close(model[0].running_mean, 0.5 * images.mean((0, 2, 3)))
    torch.testing.assert_close(model[0].running_var, 0.5 + 0.5 * images.transpose(0, 1).flatten(1).var(1))
    assert torch.equal(model(images), inside) and model[0].momentum == 0.1


def test_by_the_batch_in_evaluation_mode_and_nothing_is_kept() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5)).eval()
    images = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0)) + 3
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad(), by_the_batch(model):
        found = model(images)
    assert found.mean((0, 2, 3)).abs().max() < 1e-5 and float(model(images).detach().mean()) > 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part.training for part in model.modules()) and model[0].track_running_stats


def test_momentum_comes_back_after_an_error() -> None:
    model = nn.BatchNorm2d(1)
    with pytest.raises(RuntimeError, match="stop"), keeping(model, 0.0):
        raise RuntimeError("stop")
    assert model.momentum == 0.1
