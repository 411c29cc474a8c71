"""Logits of two domains under both rules for batch norms, against calls of the network by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adaptation_batches import build, source, target
from unshift.errors import DataError
from unshift.layers.running_statistics import batch_norms
from unshift.objectives import erm
from unshift.objectives.two_domains import of_both, require_target


def network() -> nn.Module:
    return build(erm.MEMBER).network


def test_joint_is_one_pass_over_both() -> None:
    images, others = source().images, target(3).images
    first, second = of_both(network(), images, others, "joint")
    assert torch.equal(torch.cat([first, second]), network()(torch.cat([images, others])))


def test_each_domain_by_itself_and_the_targets_statistics_are_kept() -> None:
    images, others, mine, alone = source().images, target(3).images, network(), network()
    first, second = of_both(mine, images, others, "target")
    assert torch.equal(first, network()(images)) and torch.equal(second, alone(others))
    for norm, expected in zip(batch_norms(mine), batch_norms(alone), strict=True):
        assert torch.equal(norm.running_mean, expected.running_mean)
        assert torch.equal(norm.running_var, expected.running_var)


def test_gradients_flow_through_both() -> None:
    for rule in ("joint", "target"):
        model = network()
        first, second = of_both(model, source().images, target().images, rule)
        (first.square().mean() + second.square().mean()).backward()
        assert all(p.grad is not None for p in model.parameters())


def test_what_is_wrong_with_a_target_is_named() -> None:
    assert require_target(target(1), source().images, who="X").images.shape[0] == 1
    for wrong, message in (
        (None, "X: no unlabeled image"),
        (target(0), "X: no unlabeled image"),
        (target(channels=3), "images of t are 3×32×32 but those of the source 1×32×32"),
        (target(size=16), "images of t are 1×16×16 but"),
    ):
        with pytest.raises(DataError, match=message):
            require_target(wrong, source().images, who="X")
