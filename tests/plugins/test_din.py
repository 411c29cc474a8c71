"""DIN: what it learns, what it keeps, how it stops, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unshift import discover
from unshift.config import parse
from unshift.contracts import Network
from unshift.errors import ConfigError, DataError
from unshift.layers.restyle import statistics
from unshift.losses.overlap import segmentation_terms
from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.adain import AdaIN
from unshift.plugins.din import DIN, DINConfig
from unshift.plugins.frozen import style_statistics
from unshift.plugins.units import UnitsConfig
from unshift.sample import Sample, Task

FAST = {"steps": 3, "batch_size": 2, "check_every": 1}


def network(*, dims: int = 2, trained: bool = True) -> Network:
    torch.manual_seed(0)
    net = UNet(UNetConfig(widths=(4, 6, 8)), Task(1, ("background", "head"), spatial_dims=dims))
    with torch.no_grad():  # running statistics as after some training
        for _ in range(20 if trained else 0):
            net(torch.rand(2, 1, *(16,) * dims))
    return net.eval()


def pictures(count: int = 8, *, seed: int = 1, dims: int = 2) -> list[Sample]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        image = torch.rand(1, *(16,) * dims, generator=generator) * (0.5 + 0.5 * i / count)
        found.append(Sample(image, f"case_{i}", f"{i}", "A", label_map=(image[0] > 0.4).long()))
    return found


def unlabeled(samples: list[Sample]) -> list[Sample]:
    return [sample.unlabeled() for sample in samples]


def numbers(plugin: DIN | AdaIN) -> Tensor:
    return torch.cat([values.flatten() for values in plugin.state_dict().values()])


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_trained_nets_approach_adain() -> None:
    net, style = network(), unlabeled(pictures())
    config = DINConfig(steps=150, learning_rate=2e-2, check_every=30)
    fitted = DIN(config).fit(net, style, pictures(6, seed=9), seed=0)
    for unit, (mean, deviation) in zip(fitted.levels, style_statistics(net, style), strict=True):
        at_start = (1 - deviation.mean(0)).norm() + mean.mean(0).norm()
        left = (unit.weight - deviation.mean(0)).norm() + (unit.bias - mean.mean(0)).norm()
        assert left < 0.1 * at_start
    assert fitted.history[-1]["loss"] < 0.2 * fitted.history[0]["loss"]


def test_a_style_image_as_content_comes_out_as_it_was() -> None:
    net, (style,) = network(), unlabeled(pictures(1))
    config = DINConfig(levels="single", steps=300, learning_rate=1e-2, check_every=50, eps=1e-9)
    fitted = DIN(config).fit(net, [style], pictures(4, seed=9), seed=0)
    with torch.no_grad():
        features = net.encode(style.image[None])
        restyled = fitted.attach(net).restyle(features)
    assert (restyled[-1] - features[-1]).norm() < 0.05 * features[-1].norm()
    assert torch.equal(restyled[0], features[0])
    assert (fitted.levels[0].weight >= 0).all()


def test_after_the_unit_every_image_has_the_statistics_of_the_style() -> None:
    net = network()
    fitted = DIN(DINConfig(**FAST, eps=1e-12)).fit(net, unlabeled(pictures()), pictures(4, seed=9))
    with torch.no_grad():
        restyled = fitted.attach(net).restyle(net.encode(3 * torch.rand(5, 1, 16, 16)))
    for unit, feature in zip(fitted.levels, restyled, strict=True):
        mean, deviation = statistics(feature)
        alive = deviation > 0
        assert alive.any()
        torch.testing.assert_close(mean, unit.bias.expand_as(mean), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(
            deviation[alive], unit.weight.abs().expand_as(deviation)[alive], atol=1e-4, rtol=1e-3
        )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("objective", ["statistics", "task", "statistics+task"])
def test_it_keeps_two_numbers_a_channel_and_leaves_the_network_alone(objective: str, dims: int) -> None:
    net, style = network(dims=dims), pictures(4, dims=dims)
    net.train()
    before = state(net)
    fitted = DIN(DINConfig(objective=objective, **FAST)).fit(net, style, pictures(3, seed=9, dims=dims), seed=0)
    assert fitted.stored_numbers() == 2 * (4 + 6 + 8) == numbers(fitted).numel()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training and all(p.requires_grad and p.grad is None for p in net.parameters())
    assert len(fitted.history) == 3


def test_each_objective_logs_its_terms() -> None:
    net, style, content = network(), pictures(4), pictures(3, seed=9)
    levels, task = {"level_1", "level_2", "level_3"}, {"cross_entropy", "dice"}
    for objective, terms in (("statistics", levels), ("task", task), ("statistics+task", levels | task)):
        fitted = DIN(DINConfig(objective=objective, **FAST)).fit(net, style, content)
        assert set(fitted.history[0]) == terms | {"step", "loss", "held_out"}


def test_the_seed_decides_everything_and_nothing_global_changes() -> None:
    net, style, content = network(), pictures(4), pictures(3, seed=9)
    for objective in ("statistics", "task", "statistics+task"):
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        first, again, other = (
            DIN(DINConfig(objective=objective, **FAST)).fit(net, style, content, seed=seed) for seed in (0, 0, 1)
        )
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(numbers(first), numbers(again)) and first.history == again.history
        assert first.history != other.history


def test_the_task_is_learned() -> None:
    net, style = network(), pictures(12)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    images, label_maps = torch.stack([s.image for s in style]), torch.stack([s.label_map for s in style])
    for _ in range(40):
        optimizer.zero_grad()
        sum(segmentation_terms(net(images), label_maps).values()).backward()
        optimizer.step()
    settings = {"objective": "task", "shift": {"name": "appearance", "untouched": 0.0}, "check_every": 10}
    config = DINConfig(steps=60, task_learning_rate=0.05, **settings)
    fitted, adain = DIN(config).fit(net, style, []), AdaIN(UnitsConfig()).fit(net, style, [])
    shift = discover.load("augmentations", "appearance")
    shift = shift(shift.Config(untouched=0.0))
    shifted = shift.apply(images, shift.draw(torch.Generator().manual_seed(123), images))
    with torch.no_grad():
        after, before = (sum(segmentation_terms(p.attach(net)(shifted), label_maps).values()) for p in (fitted, adain))
    assert after < 0.9 * before


def test_labels_may_come_from_the_network() -> None:
    net, style = network(), unlabeled(pictures(4))
    config = DINConfig(objective="task", supervision="network", **FAST)
    assert len(DIN(config).fit(net, style, []).history) == 3
    with pytest.raises(DataError, match="'case_0': no label map"):
        DIN(DINConfig(objective="task", **FAST)).fit(net, style, [])


def test_a_learned_strength_is_one_more_number_a_unit_and_survives_storage() -> None:
    net, style = network(), pictures(4)
    config = DINConfig(objective="task", learned_strength=True, task_learning_rate=0.3, **FAST)
    fitted = DIN(config).fit(net, style, [])
    assert fitted.stored_numbers() == 2 * (4 + 6 + 8) + 3
    assert all(0 < float(unit.strength) < 1 for unit in fitted.levels)
    loaded = DIN(config)
    loaded.load_state_dict(fitted.state_dict())
    images = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.attach(net)(images), fitted.attach(net)(images))


def test_statistics_beside_the_task_hold_the_units_near_adain() -> None:
    net, style, content = network(), pictures(4), pictures(3, seed=9)
    settings = {"steps": 30, "check_every": 10, "task_learning_rate": 0.1, "held_out": 0.0, "patience": 9}
    adain = numbers(AdaIN(UnitsConfig()).fit(net, style, []))
    free, held = (
        DIN(DINConfig(objective="statistics+task", statistics_weight=weight, **settings)).fit(net, style, content)
        for weight in (0.0, 100.0)
    )
    assert (numbers(held) - adain).norm() < 0.5 * (numbers(free) - adain).norm()


def test_units_are_trained_behind_the_gate_that_they_run_with() -> None:
    net, style = network(), pictures(12)
    settings = {"objective": "task", "shift": {"name": "appearance", "strength": 0.0}, "held_out": 0.0, "steps": 3}
    settings |= {"patience": 1, "check_every": 3}
    through = DIN(DINConfig(gate="distance", **settings)).fit(net, style, [])
    plain = AdaIN(UnitsConfig(gate="distance")).fit(net, style, [])
    for unit, start in zip(through.levels, plain.levels, strict=True):  # unshifted source images pass untouched
        torch.testing.assert_close(unit.weight, start.weight)
        torch.testing.assert_close(unit.bias, start.bias)
    assert [entry["loss"] for entry in through.history] != [
        entry["loss"] for entry in DIN(DINConfig(**settings)).fit(net, style, []).history
    ]


def test_strength_scales_what_was_trained_at_full_strength() -> None:
    net, style = network(), pictures(4)
    full, none = (
        DIN(DINConfig(objective="task", strength=strength, **FAST)).fit(net, style, []) for strength in (1.0, 0.0)
    )
    assert torch.equal(numbers(full), numbers(none))
    images = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(none.attach(net)(images), net(images))
        assert not torch.equal(full.attach(net)(images), net(images))


@pytest.mark.parametrize("objective", ["statistics", "statistics+task"])
def test_statistics_need_content(objective: str) -> None:
    with pytest.raises(DataError, match="no content image.*content.count"):
        DIN(DINConfig(objective=objective)).fit(network(), pictures(2), [])


def test_a_task_has_one_style() -> None:
    with pytest.raises(ConfigError, match="style is 'nearest'.*the mean"):
        parse(DINConfig, {"objective": "task", "style": "nearest"}, where="plugin")
    assert parse(DINConfig, {"style": "nearest", "shift": "appearance"}, where="plugin").shift.name == "appearance"


def test_each_style_image_keeps_its_own_unit_for_the_nearest() -> None:
    net, style = network(), unlabeled(pictures(5))
    fitted = DIN(DINConfig(style="nearest", **FAST)).fit(net, style, pictures(3, seed=9))
    assert [tuple(unit.weight.shape) for unit in fitted.levels] == [(5, 4), (5, 6), (5, 8)]


def test_the_augmentation_takes_part_in_the_key_of_a_task() -> None:
    task, statistics_alone = DIN.files(DINConfig(objective="task")), DIN.files(DINConfig())
    assert {file.name for file in task} - {file.name for file in statistics_alone} == {"appearance.py"}
    assert {"matching.py", "task.py", "training.py", "units.py"} <= {file.name for file in statistics_alone}
