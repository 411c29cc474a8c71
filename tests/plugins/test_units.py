"""What the units' base does with the weights and biases that a member gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshift.config import parse
from unshift.contracts import Network
from unshift.errors import BundleError, ConfigError, DataError
from unshift.layers.restyle import restyle, statistics
from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.frozen import style_statistics
from unshift.plugins.units import Restyled, Style, StyleUnits, UnitsConfig, gap
from unshift.sample import Sample, Task

CHANNELS = (4, 6, 8)


class Given(StyleUnits):
    """Weights 1, 2, 3, … and biases 10, 20, 30, … for style images 0, 1, 2, …"""

    strength: Tensor | None = None

    def bank(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> Sequence[Style]:
        rising = torch.arange(1.0, len(style) + 1)[:, None]
        channels = [network.taps[i].channels for i in taps]
        return [Style(rising.expand(-1, c), 10 * rising.expand(-1, c), self.strength) for c in channels]


class One(Given):
    """One weight and bias for all style images."""

    def bank(self, network: Network, style: Sequence[Sample], *args: Any, **kwargs: Any) -> Sequence[Style]:
        return [Style(s.weights[:1], s.biases[:1]) for s in super().bank(network, style, *args, **kwargs)]


def network(widths: tuple[int, ...] = CHANNELS) -> UNet:
    torch.manual_seed(0)
    net = UNet(UNetConfig(widths=widths), Task(1, ("background", "head")))
    with torch.no_grad():
        for _ in range(20):
            net(torch.rand(4, 1, 16, 16))
    return net.eval()


def samples(count: int, *, gain: float = 1.0, seed: int = 1) -> list[Sample]:
    images = gain * torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    return [Sample(x, case=str(i), patient="p", domain="a") for i, x in enumerate(images)]


def config(**options: Any) -> UnitsConfig:
    return parse(UnitsConfig, options, where="test")


def kept(plugin: StyleUnits) -> tuple[list[float], list[float]]:
    """The first channel's weight and bias of every unit."""
    return [float(u.weight[0]) for u in plugin.levels], [float(u.bias[0]) for u in plugin.levels]


def test_the_mean_style_is_the_mean_of_weights_and_of_biases() -> None:
    assert kept(Given(config()).fit(network(), samples(4), [])) == ([2.5] * 3, [25.0] * 3)


def test_a_single_style_is_one_images_and_the_seed_draws_it() -> None:
    net, style = network(), samples(5)
    drawn = [kept(Given(config(style="single")).fit(net, style, [], seed=seed)) for seed in range(8)]
    assert drawn[0] == kept(Given(config(style="single")).fit(net, style, [], seed=0))
    assert all(b == [10 * w for w in ws] and len(set(ws)) == 1 for ws, b in drawn)  # one image for all levels
    assert len({ws[0] for ws, _ in drawn}) > 1


def test_the_medoid_is_nearest_to_all_others_by_bottleneck_statistics() -> None:
    net, style = network(), samples(7)
    mean, deviation = style_statistics(net, style)[-1]
    values = torch.cat([mean, deviation], dim=1)
    sums = [sum(float((a - b).norm()) for b in values) for a in values]
    weights, _ = kept(Given(config(style="medoid")).fit(net, style, []))
    assert weights == [1.0 + sums.index(min(sums))] * 3


def test_the_nearest_style_is_chosen_for_every_image() -> None:
    net, style = network(), samples(4)
    plugin = Given(config(style="nearest", levels="single")).fit(net, style, [])
    assert plugin.levels[0].weight.shape == (4, 8)
    attached = plugin.attach(net)
    order = [2, 0, 3]
    with torch.no_grad():
        features = net.encode(torch.stack([style[i].image for i in order]))
        found = attached.restyle(features)[-1]
        for row, i in enumerate(order):
            own = [values[row : row + 1] for values in features]
            wanted = restyle(own[-1], torch.full((8,), i + 1.0), torch.full((8,), 10.0 * (i + 1)))
            torch.testing.assert_close(found[row : row + 1], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("style", ["mean", "single", "medoid", "nearest"])
def test_a_member_may_give_one_style_for_all_images(style: str) -> None:
    plugin = One(config(style=style)).fit(network(), samples(3), [])
    assert all((unit.weight == 1).all() and (unit.bias == 10).all() for unit in plugin.levels)


def test_a_unit_stores_two_numbers_a_channel() -> None:
    net = UNet(UNetConfig(), Task(1, ("background", "head")))
    for levels, numbers in (("single", 2048), ("multi", 3840)):  # the paper's table 3
        plugin = Given(config(levels=levels))
        channels = [tap.channels for tap in net.taps][-1:] if levels == "single" else [128, 256, 512, 1024]
        state = {f"levels.{i}.{part}": torch.ones(c) for i, c in enumerate(channels) for part in ("weight", "bias")}
        plugin.load_state_dict(state)
        assert plugin.stored_numbers() == numbers
        assert [channels for _, _, channels in plugin.attach(net).units()] == channels
    assert plugin.attach(net).units() == [
        ("level_2", 2, 128),
        ("level_3", 4, 256),
        ("level_4", 8, 512),
        ("level_5", 16, 1024),
    ]


def test_a_learned_strength_multiplies_the_one_that_is_set() -> None:
    net, x = network(), torch.rand(2, 1, 16, 16)
    learned, twice = Given(config()), Given(config())
    learned.strength, twice.strength = torch.tensor(0.6), torch.tensor(0.3)
    half = Given(config(strength=0.5))
    half.load_state_dict(learned.fit(net, samples(3), []).state_dict())
    assert learned.stored_numbers() == 2 * sum(CHANNELS) + 3
    with torch.no_grad():
        expected = twice.fit(net, samples(3), []).attach(net)(x)
        torch.testing.assert_close(half.attach(net)(x), expected)


def test_restyling_reaches_the_skips_copy_alone() -> None:
    """The bottleneck of a network with all units is computed from the encoder's own, unchanged, features."""
    net, x = network(), torch.rand(2, 1, 16, 16)
    attached = Given(config(levels=["level_1", "level_2"])).fit(net, samples(3), []).attach(net)
    seen: list[list[Tensor]] = []

    class Watched(UNet):
        def decode(self, features: Sequence[Tensor]) -> Tensor:
            seen.append(list(features))
            return super().decode(features)

    net.__class__ = Watched
    with torch.no_grad():
        attached(x)
        plain = net.encode(x)
    assert torch.equal(seen[0][2], plain[2])
    for i in (0, 1):
        mean, _ = statistics(seen[0][i])
        torch.testing.assert_close(mean, torch.full_like(mean, 20.0), atol=1e-3, rtol=1e-3)


def test_the_gate_leaves_sources_alone_and_restyles_strangers() -> None:
    net, style = network(), samples(40)
    attached = Given(config(gate="distance")).fit(net, style, []).attach(net)
    full = Given(config()).fit(net, style, []).attach(net)
    near, far = torch.stack([s.image for s in style[:4]]), 5 - 3 * samples(1)[0].image[None]
    with torch.no_grad():
        assert torch.equal(attached(near), net(near))  # bit for bit
        torch.testing.assert_close(attached(far), full(far), atol=1e-3, rtol=1e-3)


def test_the_distance_to_the_style_falls_to_nothing() -> None:
    net, strangers = network(), samples(5, gain=4.0, seed=9)
    found = Given(config(eps=1e-12)).fit(net, samples(3), []).distance(net, strangers)
    assert [row["tap"] for row in found] == ["level_1", "level_2", "level_3"]
    for row, (mean, deviation) in zip(found, style_statistics(net, strangers), strict=True):
        expected = ((mean - 20).square().sum(1).sqrt() + (deviation - 2).square().sum(1).sqrt()).mean()
        assert row["before"] == pytest.approx(float(expected), rel=1e-4)
    dead = [int((deviation < 2e-3).sum()) for _, deviation in style_statistics(net, strangers)]
    assert not any(dead)
    assert all(row["after"] < 1e-3 for row in found)
    unchanged = Given(config(strength=0.0)).fit(net, samples(3), []).distance(net, strangers)
    assert all(row["after"] == pytest.approx(row["before"]) for row in unchanged)


def test_the_gap_is_the_published_loss_by_hand() -> None:
    mean, deviation = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 2.0]])
    assert gap((mean, deviation), torch.tensor([-1.0, 5.0]), torch.zeros(2)).tolist() == [5.0 + 3.0]


def test_the_attached_copy_does_not_change_when_the_plugin_is_fitted_again() -> None:
    net, x = network(), torch.rand(1, 1, 16, 16)
    plugin = Given(config()).fit(net, samples(3), [])
    attached = plugin.attach(net)
    with torch.no_grad():
        before = attached(x)
        plugin.fit(net, samples(6), [])
        assert torch.equal(attached(x), before) and not torch.equal(plugin.attach(net)(x), before)


def test_gradients_reach_an_image_through_the_units() -> None:
    net, x = network(), torch.rand(1, 1, 16, 16, requires_grad=True)
    Given(config(strength=0.5)).fit(net, samples(3), []).attach(net)(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0


def test_wrong_state_names_what_is_wrong() -> None:
    fitted = Given(config(style="nearest", gate="distance")).fit(network(), samples(12), [])
    state = fitted.state_dict()
    for wrong, message in (
        ({k: v for k, v in state.items() if k != "gate.threshold"}, r"missing \['gate.threshold'\]"),
        ({**state, "levels.9.weight": torch.ones(3)}, r"missing \['levels.3"),
        ({**state, "levels.0.color": torch.ones(3)}, r"unknown \['levels.0.color'\]"),
        ({**state, "levels.0.bias": torch.ones(12, 3)}, "equal shapes"),
    ):
        with pytest.raises(BundleError, match=message):
            Given(config(style="nearest", gate="distance")).load_state_dict(wrong)
    with pytest.raises(BundleError, match="unknown"):  # settings of another bundle
        Given(config()).load_state_dict(state)


def test_the_gate_needs_enough_images() -> None:
    with pytest.raises(DataError, match="10 or more"):
        Given(config(gate="distance")).fit(network(), samples(9), [])


def test_attaching_to_another_network_is_an_error() -> None:
    plugin = Given(config(levels="single")).fit(network(), samples(3), [])
    with pytest.raises(ConfigError, match=r"\[8\].*level_2.*\[12\]"):
        plugin.attach(network(widths=(4, 12)))


@pytest.mark.parametrize(
    "options", [{"strength": 1.5}, {"strength": -0.1}, {"style": "median"}, {"levels": "all"}, {"eps": 0.0}], ids=str
)
def test_settings_out_of_range_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        config(**options)


def test_what_is_attached_is_a_module_that_holds_the_network() -> None:
    net = network()
    attached = Given(config()).fit(net, samples(3), []).attach(net)
    assert isinstance(attached, Restyled) and isinstance(attached, nn.Module)
    assert attached.network is net and attached.network.size_divisor == 4
    assert {id(p) for p in attached.parameters()} == {id(p) for p in net.parameters()}  # units are no parameters
