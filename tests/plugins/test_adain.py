"""AdaIN's weight is the source's deviation and its bias the source's mean, computed here once more with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.adain import AdaIN
from unshift.plugins.units import UnitsConfig
from unshift.sample import Sample, Task


def network() -> UNet:
    torch.manual_seed(0)
    net = UNet(UNetConfig(widths=(4, 6, 8)), Task(1, ("background", "head")))
    with torch.no_grad():
        for _ in range(20):
            net(torch.rand(4, 1, 16, 16))
    return net.eval()


def style(count: int) -> list[Sample]:
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return [Sample(x * (i + 1) / count, case=str(i), patient="p", domain="a") for i, x in enumerate(images)]


def features(net: UNet, samples: list[Sample]) -> list[np.ndarray]:
    with torch.no_grad():
        return [f.double().numpy() for f in net.encode(torch.stack([s.image for s in samples]))]


def test_weight_is_the_mean_deviation_and_bias_the_mean_mean() -> None:
    net, samples = network(), style(5)
    plugin = AdaIN(UnitsConfig()).fit(net, samples, [])
    for unit, feature in zip(plugin.levels, features(net, samples), strict=True):
        np.testing.assert_allclose(unit.weight, feature.std(axis=(2, 3)).mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(unit.bias, feature.mean(axis=(2, 3)).mean(axis=0), rtol=1e-4, atol=1e-6)
    assert plugin.history == []


def test_an_image_in_its_own_style_is_left_as_it_is() -> None:
    net, (sample, *_) = network(), style(1)
    attached = AdaIN(UnitsConfig(eps=1e-12)).fit(net, [sample], []).attach(net)
    with torch.no_grad():
        torch.testing.assert_close(attached(sample.image[None]), net(sample.image[None]), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("levels", ["single", "multi"])
def test_afterwards_the_decoder_gets_the_sources_statistics(levels: Any) -> None:
    net, samples = network(), style(6)
    plugin = AdaIN(UnitsConfig(levels=levels, eps=1e-12)).fit(net, samples, [])
    attached = plugin.attach(net)
    with torch.no_grad():
        plain = net.encode(5 * samples[0].image[None])
        restyled = attached.restyle(plain)
    taps = (2,) if levels == "single" else (0, 1, 2)
    assert all((restyled[i] is plain[i]) == (i not in taps) for i in range(3))
    for index, unit in zip(taps, plugin.levels, strict=True):
        alive = plain[index].std(dim=(0, 2, 3)) > 2e-3 * unit.weight
        values = restyled[index][0, alive].double().numpy()
        np.testing.assert_allclose(values.mean(axis=(1, 2)), unit.bias[alive], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=(1, 2)), unit.weight[alive], rtol=1e-3, atol=1e-4)
        assert alive.any()


def test_shared_source_is_part_of_what_it_does() -> None:
    names = {path.name for path in AdaIN.files(UnitsConfig())}
    assert names >= {"units.py", "frozen.py", "bottleneck.py", "restyle.py"} and "din.py" not in names
