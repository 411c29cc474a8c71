from __future__ import annotations

import pytest
import torch
from torch import nn

from unshift.errors import ConfigError, ShapeMismatch
from unshift.layers.dual_batch_norm import DualBatchNorm, dualize


def features(count: int = 4, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(count, 5, 6, 7, generator=torch.Generator().manual_seed(seed)) + 1


def trained() -> DualBatchNorm:
    """Both norms have seen something, and not the same."""
    dual = DualBatchNorm(nn.BatchNorm2d(5))
    with torch.no_grad():
        for norm in dual.norms:
            norm.weight.uniform_(0.5, 2)
        for seed in range(30):
            dual(torch.cat([features(2, seed), 2 - features(2, seed)]))
    return dual.eval()


@pytest.mark.parametrize("count", [1, 4, 5])
def test_while_training_the_halves_go_separate_ways(count: int) -> None:
    x, half = features(count), (count + 1) // 2
    dual, first, second = DualBatchNorm(nn.BatchNorm2d(5)), nn.BatchNorm2d(5), nn.BatchNorm2d(5)
    found = dual(x)
    expected = [first(x[:half])] + ([second(x[half:])] if count > 1 else [])
    assert torch.equal(found, torch.cat(expected))
    for mine, theirs in zip(dual.norms, (first, second), strict=True):
        assert torch.equal(mine.running_mean, theirs.running_mean)
        assert torch.equal(mine.running_var, theirs.running_var)


def test_at_test_time_every_image_takes_its_route() -> None:
    dual, x = trained(), features()
    ways = []
    for way in (0, 1):
        dual.route = way
        ways.append(dual(x))
        assert torch.equal(ways[-1], dual.norms[way](x))
    dual.route = torch.tensor([True, False, False, True])
    assert torch.equal(dual(x), torch.stack([ways[1][0], ways[0][1], ways[0][2], ways[1][3]]))
    with pytest.raises(ShapeMismatch, match="2 images, but styles of 4"):
        dual(x[:2])


def test_the_distance_is_that_of_means_and_variances() -> None:
    dual, x = trained(), features()
    dual.route = 1
    dual(x)
    a, norm = x.double().numpy(), dual.norms[1]
    mean = ((a.mean((2, 3)) - norm.running_mean.double().numpy()) ** 2).sum(1) ** 0.5
    variance = ((a.var((2, 3)) - norm.running_var.double().numpy()) ** 2).sum(1) ** 0.5
    assert dual.distance is not None
    torch.testing.assert_close(dual.distance.double(), torch.from_numpy(mean + variance), rtol=1e-5, atol=1e-5)


def test_every_batch_norm_is_replaced_and_one_that_is_shared_stays_shared() -> None:
    shared = nn.BatchNorm2d(5)
    module = nn.Sequential(nn.Conv2d(5, 5, 1), shared, nn.Sequential(nn.BatchNorm2d(5), nn.ReLU()), shared)
    made = dualize(module)
    assert len(made) == 2 and module[1] is module[3] is made[0] and module[2][0] is made[1]
    assert made[0].norms[0] is shared and made[0].norms[1] is not shared


def test_what_cannot_be_doubled_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Sequential has no batch norm.*norm: batch"):
        dualize(nn.Sequential(nn.Conv2d(1, 1, 1), nn.InstanceNorm2d(1)))
    with pytest.raises(ConfigError, match="no running statistics"):
        dualize(nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)))
