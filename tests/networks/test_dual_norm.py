from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unshift.config import MemberRef
from unshift.errors import BundleError, ConfigError, ShapeMismatch
from unshift.export.bundle import Bundle, load_bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.dual_norm import Config, DualNorm
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task

TASK = Task(1, ("background", "head"))
INPUT = InputConfig(size=(16, 16))


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def inner(**settings: Any) -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 8), **settings), TASK)


def trained() -> DualNorm:
    """The first norms know images, the second their negatives."""
    network = DualNorm(Config(of=None), TASK, network=inner())
    network.standardize(torch.tensor([0.5]), torch.tensor([0.3]))
    with torch.no_grad():
        for seed in range(40):
            x = images(4, seed) ** 3
            network(torch.cat([x, 1 - x]))
    return network.eval()


def test_while_training_each_half_goes_through_a_network_of_its_own() -> None:
    x, one, other = images(), inner().train(), inner().train()
    network = DualNorm(Config(of=None), TASK, network=inner()).train()
    torch.testing.assert_close(network(x), torch.cat([one(x[:2]), other(x[2:])]))


def test_images_choose_the_norms_that_they_are_nearer_to() -> None:
    network, x = trained(), images(6, 99) ** 3
    mixed = torch.cat([x[:3], 1 - x[3:]])
    assert network.dissimilar(mixed).tolist() == [False] * 3 + [True] * 3
    with torch.no_grad():
        found = network(mixed)
        for way, part in ((0, slice(0, 3)), (1, slice(3, 6))):
            network._route(way)
            standardized = (mixed - 0.5) / torch.tensor([0.3])
            torch.testing.assert_close(found[part], network.network(standardized)[part])


def test_the_choice_is_the_smaller_sum_of_distances() -> None:
    network, x = trained(), images(5, 7)
    sums = []
    for way in (0, 1):
        seen: list[torch.Tensor] = []
        handles = [
            norm.register_forward_pre_hook(lambda m, args, way=way, seen=seen: seen.append(_far(m.norms[way], args[0])))
            for norm in network.norms
        ]
        network._route(way)
        with torch.no_grad():
            network.network((x - 0.5) / torch.tensor([0.3]))
        for handle in handles:
            handle.remove()
        sums.append(sum(seen))
    assert network.dissimilar(x).tolist() == (sums[1] < sums[0]).tolist()


def _far(norm: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    mean, variance = x.mean((2, 3)) - norm.running_mean, x.var((2, 3), correction=0) - norm.running_var
    return mean.norm(dim=1) + variance.norm(dim=1)


def test_decode_goes_on_where_encode_chose() -> None:
    network, x = trained(), images(6, 99) ** 3
    mixed = torch.cat([x[:3], 1 - x[3:]])
    with torch.no_grad():
        assert torch.equal(network.decode(network.encode(mixed)), network(mixed))
        with pytest.raises(ShapeMismatch, match="decode needs the features"):
            network.decode([f[:2] for f in network.encode(mixed)])


def test_a_bundle_brings_it_back(tmp_path: Path) -> None:
    network, x = trained(), torch.cat([images(2, 5) ** 3, 1 - images(2, 6) ** 3])
    save_bundle(tmp_path / "bundle", Bundle(network=network, task=TASK, input=INPUT))
    loaded = load_bundle(tmp_path / "bundle").network
    assert isinstance(loaded, DualNorm) and loaded.config == network.config
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))


def test_a_recipe_may_name_it() -> None:
    ref = MemberRef.model_validate({"name": "dual_norm", "of": {"name": "ram_unet", "width": 4}})
    network = build_network(ref, TASK, INPUT)
    assert isinstance(network, DualNorm) and network.size_divisor == 16 and len(network.taps) == 5
    assert network.config.of is not None and network.config.of.settings["width"] == 4


def test_pretrained_standardization_moves_outward_and_weights_are_not_fetched_again() -> None:
    network = inner()
    network.origin = "ImageNet"
    network.input_mean.fill_(0.4)
    network.input_deviation.fill_(0.2)
    doubled, x = DualNorm(Config(of=None), TASK, network=network).eval(), images()
    other = inner().eval()
    other.input_mean.fill_(0.4)
    other.input_deviation.fill_(0.2)
    with torch.no_grad():
        assert torch.equal(doubled(x), other(x))
    doubled.standardize(torch.tensor([0.9]), torch.tensor([0.1]))
    assert doubled.origin == "ImageNet" and doubled.input_mean.tolist() == pytest.approx([0.4])
    assert doubled.config.of is not None and doubled.config.of.settings["weights"] is None


def test_networks_that_it_cannot_be_made_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="UNet has no batch norm"):
        DualNorm(Config(of=None), TASK, network=inner(norm="instance"))
    foreign = MemberRef.model_validate({"name": "own", "builder": "os:system"})
    for of in (foreign, MemberRef(name="dual_norm"), None):
        with pytest.raises(ConfigError, match="without running foreign code. Set `of`"):
            DualNorm(Config(of=of), TASK)
    with pytest.raises(ConfigError, match="the network is 'dual_norm'"):
        DualNorm(Config(of=None), TASK, network=trained())
    save_bundle(tmp_path / "bundle", Bundle(network=trained(), task=TASK, input=INPUT))
    manifest = tmp_path / "bundle" / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("name: unet", "name: own\n    builder: os:system"))
    with pytest.raises(BundleError, match="foreign code"):
        load_bundle(tmp_path / "bundle")
