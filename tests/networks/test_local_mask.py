"""The local mask by hand, its stopped gradient, and what is left of it when the discriminator knows nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unshift.config import MemberRef
from unshift.errors import ConfigError, UnknownName
from unshift.export.bundle import Bundle, load_bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.networks.dual_norm import DualNorm
from unshift.networks.local_mask import Config, LocalMask
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task

TASK = Task(1, ("background", "head"))


def inner() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(8, 8, 16)), TASK)


def masked(**settings: Any) -> LocalMask:
    network = inner()
    return LocalMask(Config(of=None, **settings), TASK, network=network).eval()


def constant(network: LocalMask, value: float) -> LocalMask:
    """Its discriminator says ``value`` everywhere."""
    with torch.no_grad():
        for parameter in network.discriminator.parameters():
            parameter.zero_()
        network.discriminator[-1].bias.fill_(value)  # type: ignore[union-attr,operator]
    return network


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("mask", "value", "gap"), [("literal", 0.7, math.tanh(0.7)), ("symmetric", 0.7, 0.4)])
@pytest.mark.parametrize("tap", ["bottleneck", "level_1"])
def test_a_constant_discriminator_scales_the_feature(mask: Any, value: float, gap: float, tap: str) -> None:
    network, plain = constant(masked(mask=mask, tap=tap), value), inner().eval()
    with torch.no_grad():
        features = plain.encode(images())
        place = {"bottleneck": 2, "level_1": 0}[tap]
        features[place] = features[place] * (1 + gap)
        torch.testing.assert_close(network(images()), plain.decode(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("mask", "value"), [("literal", 0.0), ("symmetric", 0.5), ("none", 9.0)])
def test_where_there_is_no_gap_it_is_the_network_itself(mask: Any, value: float) -> None:
    with torch.no_grad():
        assert torch.equal(constant(masked(mask=mask), value)(images()), inner().eval()(images()))


def test_the_mask_sends_no_gradient_to_the_feature() -> None:
    network = masked(mask="symmetric")
    feature = torch.rand(2, 16, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gap = network.gap(feature)
    assert gap.shape == (2, 1, 8, 8) and 0 <= float(gap.detach().min()) <= float(gap.detach().max()) <= 1
    found = network.masked([torch.zeros(1), torch.zeros(1), feature])[2]
    found.sum().backward()
    torch.testing.assert_close(feature.grad, (1 + gap).detach().expand_as(feature))


def test_the_running_mean_takes_the_discriminators_place_in_evaluation_alone() -> None:
    network, plain = masked(inference="running_mean"), inner().eval()
    network.running_gap.fill_(0.25)
    with torch.no_grad():
        features = plain.encode(images())
        features[2] = 1.25 * features[2]
        torch.testing.assert_close(network(images()), plain.decode(features))
        feature = network.unmasked(images())[2]
        assert not torch.equal(network.train().gap(feature), network.eval().gap(feature))


@pytest.mark.parametrize("mask", ["symmetric", "literal", "none"])
@pytest.mark.parametrize("inference", ["computed", "running_mean"])
def test_the_shown_gap_means_the_same_for_every_mask(mask: Any, inference: Any) -> None:
    network = masked(mask=mask, inference=inference)
    for value, gap in ((0.5, 0.0), (0.3, 0.4), (2.0, 1.0), (-1.0, 1.0)):
        shown = constant(network, value).gap_map(images())
        torch.testing.assert_close(shown, torch.full((3, 1, 32, 32), gap))


def test_the_shown_gap_lies_where_the_feature_does() -> None:
    """Of a feature with a bright left half only the left half is sure, at the size of the image."""
    network = masked(tap="level_1")
    network.network.features = lambda x: [torch.cat([x[..., :16], 0 * x[..., 16:]], -1).repeat(1, 8, 1, 1)]  # type: ignore[method-assign]
    network.discriminator.forward = lambda f: 0.5 + f[:, :1]  # type: ignore[method-assign,union-attr]
    shown = network.gap_map(torch.ones(1, 1, 32, 32))[0, 0]
    assert (shown[:, :16] == 1).all() and not shown[:, 16:].any()


def test_it_leaves_in_a_bundle_and_comes_back(tmp_path: Path) -> None:
    network = masked(mask="literal", tap="level_2")
    network.standardize(torch.tensor([0.4]), torch.tensor([0.3]))
    save_bundle(tmp_path / "b", Bundle(network=network, task=TASK, input=InputConfig(size=(32, 32))))
    found = load_bundle(tmp_path / "b").network
    assert isinstance(found, LocalMask) and found.config.mask == "literal" and found.config.tap == "level_2"
    with torch.no_grad():
        assert torch.equal(found.eval()(images()), network(images()))


def test_what_cannot_be_masked_is_named() -> None:
    with pytest.raises(UnknownName, match="unknown tap 'level_9'"):
        masked(tap="level_9")
    with pytest.raises(ConfigError, match="has 4 channels; a multiple of 8"):
        LocalMask(Config(of=MemberRef.model_validate({"name": "unet", "widths": [4, 12]}), tap="level_1"), TASK)
    volumes = UNet(UNetConfig(widths=(4, 8)), Task(1, TASK.classes, spatial_dims=3))
    with pytest.raises(ConfigError, match="UNet is 3-D with the taps"):
        LocalMask(Config(of=None), volumes.task, network=volumes)
    with pytest.raises(ConfigError, match="the network is 'dual_norm'"):
        LocalMask(Config(of=None), TASK, network=DualNorm(DualNorm.Config(of=None), TASK, network=inner()))
