from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unshift.errors import ConfigError, ShapeMismatch
from unshift.networks.discriminator import (
    ContentDiscriminator,
    FeatureDiscriminator,
    ImageDiscriminator,
    Judges,
    JudgesConfig,
)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_authors_size_by_hand(channels: int) -> None:
    judges = Judges(JudgesConfig(), channels, 128)
    widths = 32 * 64 + 64 * 128 + 128 * 256 + 256 * 256
    scale = (16 * channels * 32 + 32) + 16 * widths + 2 * (64 + 128 + 256 + 256) + (256 + 1)
    content = 4 * (49 * 128 * 128 + 2 * 128) + 9 * 128 + 1
    assert parameters(judges.source) == parameters(judges.target) == 3 * scale
    assert parameters(judges.content) == content
    assert parameters(judges) == 6 * scale + content
    feature = 9 * (256 * 128 + 128 * 64 + 64 * 32) + 2 * (128 + 64 + 32) + 9 * 32 + 1
    assert parameters(FeatureDiscriminator(256)) == feature


def test_each_scale_sees_half_the_image() -> None:
    torch.manual_seed(0)
    discriminator = ImageDiscriminator(JudgesConfig(width=4, scales=3, depth=2), 1)
    x = torch.rand(2, 1, 40, 32)
    judgments = discriminator(x)
    assert [tuple(j.shape) for j in judgments] == [(2, 1, 10, 8), (2, 1, 5, 4), (2, 1, 2, 2)]
    weight = torch.full((1, 1, 3, 3), 1.0)
    count = F.conv2d(torch.ones(1, 1, 40, 32), weight, stride=2, padding=1)
    half = F.conv2d(x, weight, stride=2, padding=1) / count
    torch.testing.assert_close(discriminator.scales[1](half), judgments[1])


def test_contents_of_96_pixels_are_judged() -> None:
    discriminator = ContentDiscriminator(8)
    assert discriminator(torch.rand(2, 8, 24, 24)).shape == (2, 1, 2, 2)
    assert discriminator(torch.rand(2, 8, 64, 64)).shape == (2, 1, 4, 4)


def test_the_least_side_is_the_least() -> None:
    for config in (
        JudgesConfig(width=2, scales=1, depth=5, content_depth=4),
        JudgesConfig(width=2, scales=2, depth=4, content_depth=1),
        JudgesConfig(width=2, scales=1, depth=2, content_depth=3),
    ):
        judges = Judges(config, 1, 8)
        side = judges.least_side
        judges.check(torch.zeros(1, 1, side, side))
        judges(torch.rand(1, 1, side, side), torch.rand(1, 1, side, side), torch.rand(1, 8, side // 4, side // 4))
        with pytest.raises(ShapeMismatch, match=f"sides of {side} and more"):
            judges.check(torch.zeros(1, 1, side - 4, side))
        small = side - 4
        with pytest.raises((ValueError, RuntimeError)):
            judges(
                torch.rand(1, 1, small, small), torch.rand(1, 1, small, small), torch.rand(1, 8, small // 4, small // 4)
            )
    assert Judges(JudgesConfig(width=2, scales=2, depth=4), 1, 8).least_side == 68
    assert JudgesConfig().scales == 3 and Judges(JudgesConfig(width=2), 1, 8).least_side == 256


def test_features_are_judged_place_by_place() -> None:
    torch.manual_seed(0)
    judged = FeatureDiscriminator(16)(torch.rand(2, 16, 5, 7))
    assert judged.shape == (2, 1, 5, 7) and float(judged.detach().std()) > 0
    with pytest.raises(ConfigError, match="12 channels; a multiple of 8"):
        FeatureDiscriminator(12)
