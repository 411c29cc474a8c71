from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unshift.errors import ShapeMismatch
from unshift.layers.domain_batch_norm import DomainBatchNorm


def features(*shape: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 1


@pytest.mark.parametrize("space", [(6, 5), (3, 4, 5)], ids=["2-D", "3-D"])
def test_it_is_one_batch_norm_a_domain(space: tuple[int, ...]) -> None:
    layer, x, counts = DomainBatchNorm(3, 4), features(6, 4, *space), (1, 3, 2)
    kind = nn.BatchNorm2d if len(space) == 2 else nn.BatchNorm3d
    norms = [kind(4) for _ in range(3)]
    with torch.no_grad():
        for domain, norm in enumerate(norms):
            for own, theirs in ((layer.weight, norm.weight), (layer.bias, norm.bias)):
                own[domain] = torch.randn(4, generator=torch.Generator().manual_seed(domain))
                theirs.copy_(own[domain])
    for mode in (True, True, False):
        layer.train(mode)
        expected = [norm.train(mode)(part) for norm, part in zip(norms, x.split(counts), strict=True)]
        assert torch.equal(layer(x, counts), torch.cat(expected))
    for domain, norm in enumerate(norms):
        assert torch.equal(layer.running_mean[domain], norm.running_mean)
        assert torch.equal(layer.running_var[domain], norm.running_var)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 2 * 4


def test_a_domain_that_is_not_there_keeps_its_statistics_and_gets_a_gradient_of_zero() -> None:
    layer, x = DomainBatchNorm(3, 4), features(4, 4, 5, 5)
    (layer(x, (2, 0, 2)) * features(4, 4, 5, 5)[:, :, :, :1]).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None
    assert not layer.weight.grad[1].any() and layer.weight.grad[0].all() and layer.weight.grad[2].all()
    assert torch.equal(layer.running_mean[1], torch.zeros(4)) and layer.running_mean[0].all()


def test_state_makes_a_round_trip() -> None:
    layer, other = DomainBatchNorm(2, 3), DomainBatchNorm(2, 3)
    layer(features(4, 3, 5, 5), (2, 2))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.eval()(features(2, 3, 4, 4), (1, 1)), layer.eval()(features(2, 3, 4, 4), (1, 1)))


@pytest.mark.parametrize("counts", [(2, 2), (2, 1, 2), (4,)])
def test_counts_that_do_not_fit(counts: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="one count a domain is required"):
        DomainBatchNorm(3, 2)(features(4, 2, 3, 3), counts)


def test_one_value_has_no_deviation() -> None:
    layer = DomainBatchNorm(2, 3)
    with pytest.raises(ShapeMismatch, match="one image of one pixel.*train.batch_size"):
        layer(features(3, 3, 1, 1), (2, 1))
    assert torch.isfinite(layer.eval()(features(3, 3, 1, 1), (2, 1))).all()
