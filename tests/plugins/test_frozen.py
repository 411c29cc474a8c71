"""Looking into a network changes nothing of it; taps are chosen by rule or by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.contracts import Tap
from unshift.errors import ConfigError, UnknownName
from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.frozen import batches, chosen, frozen, style_statistics
from unshift.sample import Sample, Task

TAPS = tuple(Tap(f"level_{i}", 2 ** (i - 1), 2**i) for i in range(1, 6))


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 8)), Task(1, ("background", "head")))


def sample(size: int, seed: int, field_of_view: Tensor | None = None) -> Sample:
    image = torch.rand(1, size, size, generator=torch.Generator().manual_seed(seed))
    return Sample(image, case=str(seed), patient="p", domain="a", field_of_view=field_of_view)


@pytest.mark.parametrize(
    ("count", "levels", "wanted"),
    [
        (5, "single", (4,)),
        (5, "multi", (1, 2, 3, 4)),  # the paper's: the shallowest skip is left as it is
        (2, "multi", (0, 1)),
        (5, ("level_5", "level_2"), (1, 4)),
    ],
)
def test_taps_are_chosen_shallow_to_deep(count: int, levels: str | tuple[str, ...], wanted: tuple[int, ...]) -> None:
    assert chosen(TAPS[:count], levels) == wanted


def test_wrong_taps_are_errors() -> None:
    with pytest.raises(UnknownName, match="'level_7'.*Did you mean"):
        chosen(TAPS, ("level_7",))
    for levels in ((), ("level_1", "level_1")):
        with pytest.raises(ConfigError, match="each once"):
            chosen(TAPS, levels)
    with pytest.raises(ConfigError, match="no taps"):
        chosen((), "single")


def test_frozen_restores_modes_and_gradients_even_after_an_error() -> None:
    net = network().train()
    net.up.eval()
    net.head.requires_grad_(False)
    modes = [module.training for module in net.modules()]
    learning = [parameter.requires_grad for parameter in net.parameters()]

    def fail() -> None:
        with frozen(net):
            assert not any(module.training for module in net.modules())
            assert not any(parameter.requires_grad for parameter in net.parameters())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert [module.training for module in net.modules()] == modes
    assert [parameter.requires_grad for parameter in net.parameters()] == learning


def test_batches_keep_the_order_and_hold_one_shape_each() -> None:
    half = torch.zeros(8, 8, dtype=torch.bool)
    half[:4] = True
    mixed = [sample(8, 0), sample(8, 1, half), sample(8, 2), sample(16, 3), sample(8, 4)]
    found = list(batches(mixed, torch.device("cpu"), size=2))
    assert [tuple(images.shape) for images, _ in found] == [(2, 1, 8, 8), (1, 1, 8, 8), (1, 1, 16, 16), (1, 1, 8, 8)]
    in_order = [image for images, _ in found for image in images]
    assert all(torch.equal(image, s.image) for image, s in zip(in_order, mixed, strict=True))
    first = found[0][1]
    assert first is not None and torch.equal(first, torch.stack([torch.ones(8, 8) > 0, half]))
    assert [inside for _, inside in found[1:]] == [None, None, None]


def test_style_statistics_are_those_of_each_image_in_evaluation_mode() -> None:
    net, field_of_view = network(), torch.zeros(8, 8, dtype=torch.bool)
    field_of_view[:, :4] = True
    style = [sample(8, 0), sample(16, 1), sample(8, 2, field_of_view)]
    found = style_statistics(net.train(), style)
    assert [tuple(mean.shape) for mean, _ in found] == [(3, 4), (3, 8)]
    net.eval()
    with torch.no_grad():
        for i, each in enumerate(style):
            for (mean, deviation), feature in zip(found, net.encode(each.image[None]), strict=True):
                values = feature[0, ..., : feature.shape[-1] // 2] if i == 2 else feature[0]
                np.testing.assert_allclose(mean[i], values.mean(dim=(1, 2)), rtol=1e-4, atol=1e-6)
                np.testing.assert_allclose(deviation[i], values.numpy().std(axis=(1, 2)), rtol=1e-3, atol=1e-6)


def test_style_statistics_may_ignore_the_field_of_view() -> None:
    net, half = network(), torch.zeros(8, 8, dtype=torch.bool)
    half[:4] = True
    with_mask = style_statistics(net, [sample(8, 0, half)], field_of_view=False)
    for a, b in zip(with_mask, style_statistics(net, [sample(8, 0)]), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
