"""What every network promises. A new file in ``networks/`` is tested here the day it appears."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unshift import discover
from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.errors import ConfigError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.sizing import least_factor, nearest_size
from unshift.sample import Task

TASK = Task(3, ("background", "rim", "cup"))
SMALLER: dict[str, dict[str, Any]] = {
    "unet": {"widths": [4, 8, 16]},
    "dual_norm": {"of": {"name": "unet", "widths": [4, 8, 16]}},
    "local_mask": {"of": {"name": "unet", "widths": [4, 8, 16]}},
    "monai_net": {"encoder": "efficientnet-lite0"},
    "smp": {"encoder": "resnet18"},
    "own": {
        "builder": "monai.networks.nets:BasicUNet",
        "arguments": {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "features": [4, 4, 8, 8, 16, 4]},
    },
}
"""Settings that save time, and what ``own`` is made of; nothing else here depends on them."""
WHOLE = ("own",)
"""Networks whose decoder cannot be called by itself."""
NETWORKS = [pytest.param(name, marks=pytest.mark.timm if name == "smp" else ()) for name in discover.names("networks")]


def build(name: str) -> Network:
    torch.manual_seed(0)
    ref = MemberRef.model_validate({"name": name, **SMALLER.get(name, {})})
    return build_network(ref, TASK, InputConfig(size=(64, 64)))


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return build(request.param)


def test_logits_have_the_images_size(network: Network) -> None:
    network.eval()
    unit = network.size_divisor * least_factor(network)
    with torch.no_grad():
        for height, width in ((unit, unit), (unit, 2 * unit), (3 * unit, unit)):
            logits = network(images(2, 3, height, width))
            assert logits.shape == (2, 3, height, width)
            assert logits.dtype == torch.float32


def test_taps_describe_the_features(network: Network) -> None:
    network.eval()
    unit = 2 * network.size_divisor
    with torch.no_grad():
        features = network.encode(images(1, 3, unit, 2 * unit))
    assert len(network.taps) == len(features) > 0
    assert len({tap.name for tap in network.taps}) == len(network.taps)
    strides = [tap.stride for tap in network.taps]
    assert strides == sorted(strides)
    for tap, feature in zip(network.taps, features, strict=True):
        assert feature.shape == (1, tap.channels, unit // tap.stride, 2 * unit // tap.stride)


def test_forward_is_decode_after_encode_and_decode_leaves_features_alone(network: Network) -> None:
    network.eval()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        features = network.encode(x)
        before = copy.deepcopy(features)
        if type(network).__module__.rpartition(".")[2] in WHOLE:
            with pytest.raises(ConfigError, match="cannot be separated"):
                network.decode(features)
            return
        logits = network.decode(features)
        assert torch.equal(logits, network(x))
        assert all(torch.equal(a, b) for a, b in zip(features, before, strict=True))


def test_restyled_with_nothing_changed_is_forward(network: Network) -> None:
    network.eval()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        logits, encoded = network(x), network.encode(x)
        given: list[Tensor] = []

        def look(features: list[Tensor]) -> list[Tensor]:
            given.extend(feature.clone() for feature in features)
            return features

        assert torch.equal(network.restyled(x, look), logits)
        assert all(torch.equal(a, b) for a, b in zip(given, encoded, strict=True))
        assert torch.equal(network.restyled(x, lambda features: [f.clone() for f in features]), logits)


def test_every_tap_reaches_the_logits(network: Network) -> None:
    network.eval()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        logits = network(x)
        for index, tap in enumerate(network.taps):

            def change(features: list[Tensor], index: int = index) -> list[Tensor]:
                return [f + (i == index) for i, f in enumerate(features)]

            assert not torch.equal(network.restyled(x, change), logits), tap


def test_a_gradient_reaches_every_parameter(network: Network) -> None:
    network.train()
    network(images(4, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_evaluation_does_not_depend_on_batch_mates(network: Network) -> None:
    network.double().eval()  # in double precision nothing but a true dependence shows
    x = images(3, 3, 64, 64).double()
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(image[None]) for image in x])
    torch.testing.assert_close(together, alone, atol=1e-9, rtol=1e-9)


def test_saved_and_loaded_it_gives_the_same_logits(network: Network, tmp_path: Path) -> None:
    network.standardize(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7]))
    network.train()
    with torch.no_grad():
        network(images(4, 3, 64, 64))  # moves running statistics away from their beginning
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = type(network)(network.config, network.task)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(other.eval()(x), network.eval()(x))


def test_standardization_is_part_of_the_network(network: Network) -> None:
    network.eval()
    x = images(1, 3, 64, 64)
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.5, 2.0])
    with torch.no_grad():
        plain = network(x)
        network.standardize(mean, deviation)
        shape = (1, 3, 1, 1)
        torch.testing.assert_close(network(x * deviation.view(shape) + mean.view(shape)), plain, atol=2e-4, rtol=1e-4)
        assert not torch.equal(network(x), plain)


def test_a_copy_is_independent(network: Network) -> None:
    network.eval()
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        before = network(x)
        other = copy.deepcopy(network)
        for parameter in other.parameters():
            parameter.zero_()
        assert torch.equal(network(x), before)
        assert not torch.equal(other(x), before)


def test_the_origin_is_told(network: Network) -> None:
    assert network.origin == "from scratch"


def test_a_wrong_size_names_the_nearest_good_one(network: Network) -> None:
    wrong = 5 * network.size_divisor + 1
    good = nearest_size((wrong, wrong), network.size_divisor, least=least_factor(network))[0]
    with pytest.raises(ShapeMismatch, match=f"{wrong}×{wrong}.*nearest good size is {good}×{good}"):
        network(images(1, 3, wrong, wrong))


def test_wrong_channels_and_axes_are_errors(network: Network) -> None:
    for channels in (1, 2):  # one channel must not be broadcast to three
        with pytest.raises(ShapeMismatch, match=rf"{channels} channel"):
            network(images(1, channels, 64, 64))
    with pytest.raises(ShapeMismatch, match="5 axes"):
        network(images(1, 3, 64, 64, 64))
