from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshift.config import MemberRef
from unshift.contracts import Network, Tap
from unshift.errors import ConfigError
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.rewriting import Rewriting, find_taps
from unshift.sample import Task

TASK = Task(1, ("background", "head"))
KINDS: dict[str, dict[str, Any]] = {
    "unet": {"widths": [4, 8, 16]},
    "ram_unet": {"width": 4},
    "monai_net": {"encoder": "efficientnet-lite0"},
    "own": {
        "builder": "monai.networks.nets:BasicUNet",
        "arguments": {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "features": [4, 4, 8, 8, 16, 4]},
    },
}


class Loose(Network):
    """Everything between modules: a norm, then an activation as a function, that may write into its input."""

    size_divisor = 2

    def __init__(self, *, in_place: bool) -> None:
        super().__init__(None, TASK)
        self.in_place = in_place
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3, padding=1, stride=2)
        self.head = nn.Conv2d(10, 2, 1)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, 4), Tap("level_2", 2, 6))

    def features(self, images: Tensor) -> list[Tensor]:
        shallow = self.norm(self.first(images))
        shallow = torch.relu_(shallow) if self.in_place else torch.relu(shallow)
        return [shallow, torch.tanh(self.second(shallow))]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        deep = nn.functional.interpolate(features[1], scale_factor=2.0, mode="nearest")
        return self.head(torch.cat([features[0], deep], dim=1))


def build(name: str) -> Network:
    torch.manual_seed(0)
    if name.startswith("loose"):
        return Loose(in_place=name == "loose_in_place")
    return build_network(MemberRef.model_validate({"name": name, **KINDS[name]}), TASK, InputConfig(size=(64, 64)))


def images() -> Tensor:
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[*KINDS, "loose", "loose_in_place"])
def network(request: pytest.FixtureRequest) -> Network:
    return build(request.param)


def test_what_is_changed_is_the_tap_itself(network: Network) -> None:
    network.eval()
    names = [tap.name for tap in network.taps]
    seen: dict[int, Tensor] = {}

    def look(index: int, feature: Tensor) -> Tensor:
        seen[index] = feature.clone()
        return feature

    with torch.no_grad():
        plain, features = network(images()), network.encode(images())
        with Rewriting(network, find_taps(network, names), look):
            assert torch.equal(network(images()), plain)
    assert [torch.equal(seen[i], feature) for i, feature in enumerate(features)] == [True] * len(features)


def test_decoder_and_deeper_levels_see_the_change(network: Network) -> None:
    network.eval()
    with torch.no_grad():
        features = network.encode(images())
        deepest: list[Tensor] = []

        def change(index: int, feature: Tensor) -> Tensor:
            if index == 1:
                deepest.append(feature.clone())
            return 2 * feature + 1 if index == 0 else feature

        names = [network.taps[0].name, network.taps[-1].name]
        with Rewriting(network, find_taps(network, names), change):
            found = network(images())
        assert not torch.equal(deepest[0], features[-1])
        restyled = network.restyled(images(), lambda f: [2 * f[0] + 1, *f[1:-1], f[-1]])
        assert not torch.equal(found, restyled)  # there, the encoder's own path stays
        assert torch.equal(network.encode(images())[-1], features[-1])  # nothing is left behind


def test_the_changed_unet_is_the_unet_by_hand() -> None:
    network: Any = build("unet").eval()
    with torch.no_grad(), Rewriting(network, find_taps(network, ["level_2"]), lambda _, f: f.flip(0)):
        found = network(images())
    with torch.no_grad():
        first = network.down[0](images())
        second = network.down[1](network.pool(first)).flip(0)
        expected = network.decode([first, second, network.down[2](network.pool(second))])
    assert torch.equal(found, expected)


def test_gradients_flow_through_the_change(network: Network) -> None:
    network.train()
    with Rewriting(network, find_taps(network, [network.taps[0].name]), lambda _, f: 2 * f):
        network(images()).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_looking_leaves_modes_and_running_statistics(network: Network) -> None:
    network.train()
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d))
    norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_taps(network, [network.taps[0].name])
    assert not norm.training and network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_another_thread_is_not_disturbed() -> None:
    network, found = build("unet").eval(), []
    with torch.no_grad():
        plain = network(images())
        with Rewriting(network, find_taps(network, ["level_1"]), lambda _, f: f + 1):
            thread = threading.Thread(target=lambda: found.append(network(images()).detach()))
            thread.start()
            thread.join()
            changed = network(images())
    torch.testing.assert_close(found[0], plain)
    assert not torch.equal(changed, plain)


def test_what_cannot_be_is_an_error() -> None:
    network = build("unet")
    with pytest.raises(
        ConfigError, match="taps \\['level_9'\\] are wanted; it has \\['level_1', 'level_2', 'level_3'\\]"
    ):
        find_taps(network, ["level_9"])
    with (
        pytest.raises(ConfigError, match="were not passed in this forward pass"),
        Rewriting(network, find_taps(network, ["level_1"]), lambda _, f: f),
    ):
        network.head(torch.zeros(1, 4, 8, 8))
