"""What every plugin promises. A new file in ``plugins/`` is tested here the day it appears."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from unshift.config import parse
from unshift.contracts import Network, Plugin
from unshift.discover import load as member_of
from unshift.discover import names, summary
from unshift.errors import BundleError, ConfigError, DataError
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Sample, Task

MEMBERS = names("plugins")
SHORT: dict[str, dict[str, Any]] = {"din": {"steps": 3, "batch_size": 2}}
"""Settings that save time; nothing here depends on them."""
OPTIONS = ({"levels": "single"}, {"levels": "multi"}, {"levels": ["level_1", "level_3"], "style": "nearest"})


def network(*, dims: int = 2, widths: tuple[int, ...] = (4, 8, 16)) -> Network:
    torch.manual_seed(0)
    made = UNet(UNetConfig(widths=widths), Task(1, ("background", "head"), spatial_dims=dims)).train()
    made.standardize(torch.tensor([0.4]), torch.tensor([0.3]))
    with torch.no_grad():
        for seed in range(30):  # running statistics as after a training
            made(images(4, dims=dims, seed=seed))
    return made.eval()


def images(count: int, *, dims: int = 2, seed: int = 0, gain: float = 1.0) -> Tensor:
    return gain * torch.rand(count, 1, *(16,) * dims, generator=torch.Generator().manual_seed(seed))


def samples(count: int, *, dims: int = 2, seed: int = 1, labels: bool = True) -> list[Sample]:
    pictures = images(count, dims=dims, seed=seed)
    return [
        Sample(x, case=str(i), patient=str(i), domain="a", label_map=(x[0] > 0.5).long() if labels else None)
        for i, x in enumerate(pictures)
    ]


def build(name: str, **options: Any) -> Plugin:
    member = member_of("plugins", name)
    return member(parse(member.Config, SHORT.get(name, {}) | options, where=name))


def fitted(name: str, net: Network, *, seed: int = 0, dims: int = 2, **options: Any) -> Plugin:
    content = samples(6, dims=dims, seed=7, labels=False)
    return build(name, **options).fit(net, samples(12, dims=dims), content, seed=seed)


def logits(attached: nn.Module, x: Tensor, fields_of_view: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return attached(x, fields_of_view)


def plain(net: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x)


@pytest.fixture(params=MEMBERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_are_members() -> None:
    assert "adain" in MEMBERS


def test_it_says_in_one_sentence_what_it_is(name: str) -> None:
    assert 20 < len(summary("plugins", name)) < 160 and summary("plugins", name).endswith(".")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_changes_the_logits_and_strength_zero_gives_the_networks_bit_for_bit(
    name: str, options: dict[str, Any]
) -> None:
    net, x = network(), images(3, gain=2.0)
    state = fitted(name, net, **options).state_dict()
    for strength in (0.0, 0.5, 1.0):
        plugin = build(name, **options, strength=strength)
        plugin.load_state_dict(state)
        assert torch.equal(logits(plugin.attach(net), x), plain(net, x)) == (strength == 0)


def test_the_network_stays_as_it_was(name: str) -> None:
    net = network()
    net.train()
    net.up.eval()  # a part that someone froze
    net.head.requires_grad_(False)
    state, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    learning = [parameter.requires_grad for parameter in net.parameters()]
    attached = fitted(name, net).attach(net)
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert [module.training for module in net.modules()] == modes
    assert [parameter.requires_grad for parameter in net.parameters()] == learning
    assert all(parameter.grad is None for parameter in net.parameters())
    assert attached.network is net


def test_fitting_does_not_depend_on_the_networks_mode(name: str) -> None:
    net = network()
    first = fitted(name, net).state_dict()
    second = fitted(name, net.train()).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_same_seed_gives_the_same_units_whatever_the_global_generator(name: str) -> None:
    net = network()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = fitted(name, net, seed=5, style="single").state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    second = fitted(name, net, seed=5, style="single").state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("options", [*OPTIONS, {"gate": "distance"}, {"style": "medoid"}, {"style": "single"}], ids=str)
def test_state_loads_without_a_network(name: str, options: dict[str, Any]) -> None:
    net, x = network(), images(3, gain=1.5)
    plugin = fitted(name, net, **options)
    fresh = build(name, **options)
    fresh.load_state_dict(load(save(plugin.state_dict())))
    assert torch.equal(logits(fresh.attach(net), x), logits(plugin.attach(net), x))
    fresh.load_state_dict(plugin.state_dict())  # and once more over what is there


def test_wrong_state_is_refused(name: str) -> None:
    state = fitted(name, network()).state_dict()
    key = next(iter(state))
    for wrong in ({}, {**state, "never heard of": torch.zeros(1)}, {k: v for k, v in state.items() if k != key}):
        with pytest.raises(BundleError):
            build(name).load_state_dict(wrong)


def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    net = network()
    for options in ({}, {"gate": "distance"}, {"style": "nearest"}):
        attached = fitted(name, net, **options).attach(net).double()
        x = torch.cat([images(2, gain=gain).double() for gain in (1.0, 1.3, 4.0)])
        inside = torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(3)) > 0.2
        for masks in (None, inside):
            alone = [logits(attached, x[i : i + 1], None if masks is None else masks[i : i + 1]) for i in range(6)]
            torch.testing.assert_close(logits(attached, x, masks), torch.cat(alone), atol=1e-9, rtol=1e-9)
        net.float()


def test_constant_images_stay_finite(name: str) -> None:
    net = network()
    for gate in ("none", "distance"):
        attached = fitted(name, net, gate=gate).attach(net)
        for value in (0.0, 0.5, 100.0):
            assert logits(attached, torch.full((2, 1, 16, 16), value)).isfinite().all()


def test_it_works_on_volumes(name: str) -> None:
    net, x = network(dims=3, widths=(4, 8)), images(1, dims=3, gain=2.0)
    result = logits(fitted(name, net, dims=3).attach(net), x, torch.ones(1, 16, 16, 16) > 0)
    assert result.shape == (1, 2, 16, 16, 16) and not torch.equal(result, plain(net, x))


def test_a_field_of_view_counts_unless_it_is_told_not_to(name: str) -> None:
    net, x = network(), images(2, gain=2.0)
    x[:, :, 8:] = 0  # nothing was seen there
    inside = torch.zeros(2, 16, 16, dtype=torch.bool)
    inside[:, :8] = True
    plugin = fitted(name, net)
    attached = plugin.attach(net)
    assert not torch.equal(logits(attached, x, inside), logits(attached, x))
    assert torch.equal(logits(attached, x, torch.ones_like(inside)).argmax(1), logits(attached, x).argmax(1))
    deaf = build(name, field_of_view=False)
    deaf.load_state_dict(plugin.state_dict())
    assert torch.equal(logits(deaf.attach(net), x, inside), logits(deaf.attach(net), x))


@pytest.mark.parametrize("options", [{}, {"gate": "distance", "style": "nearest"}], ids=str)
def test_compiled_it_is_the_same(name: str, options: dict[str, Any]) -> None:
    net, x = network(widths=(4, 8)), images(2, gain=2.0)
    attached = fitted(name, net, **options).attach(net)
    compiled = torch.compile(attached, backend="eager", fullgraph=True)
    torch.testing.assert_close(logits(compiled, x), logits(attached, x), atol=1e-4, rtol=1e-4)


def test_errors_name_what_is_missing(name: str) -> None:
    net = network()
    with pytest.raises(DataError, match="style image"):
        build(name).fit(net, [], samples(2, labels=False))
    with pytest.raises(ConfigError, match="unknown tap 'level_9'.*level_1"):
        build(name, levels=["level_9"]).fit(net, samples(3), samples(2, labels=False))
    with pytest.raises(ConfigError, match="[Ff]it"):
        build(name).attach(net)
    with pytest.raises(ConfigError, match="channels"):
        fitted(name, net).attach(network(widths=(4, 8, 12)))
