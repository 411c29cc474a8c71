from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from unshift.networks.ram_unet import MEMBER, RamUNet, RamUNetConfig
from unshift.sample import Task

FUNDUS = Task(3, ("background", "organ"))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_papers_numbers_of_parameters() -> None:
    network = RamUNet(RamUNetConfig(), FUNDUS)
    assert MEMBER is RamUNet
    assert parameters(network.encoder) == 1_967_904
    assert parameters(network.decoder) == 1_217_362


def test_a_level_has_no_activation_after_its_first_norm() -> None:
    level = RamUNet(RamUNetConfig(), FUNDUS).encoder.levels[1]
    kinds = [type(m).__name__ for m in level.modules() if not list(m.children())]
    assert kinds == ["Conv2d", "BatchNorm2d", "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU"]


def test_an_upward_block_by_hand() -> None:
    """Lower, bilinear ×2, halve, the skip first, mix."""
    torch.manual_seed(0)
    network = RamUNet(RamUNetConfig(norm="none", width=2), FUNDUS)
    block = network.decoder.blocks[1]
    lower, halve, mix = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    deep, skip = torch.rand(1, 32, 4, 4), torch.rand(1, 8, 8, 8)
    x = F.conv2d(deep, lower.weight, lower.bias, padding=1).relu()
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    x = F.conv2d(x, halve.weight, halve.bias).relu()
    expected = F.conv2d(torch.cat([skip, x], 1), mix.weight, mix.bias, padding=1).relu()
    torch.testing.assert_close(block(deep, skip), expected)


def test_convolutions_begin_kaiming_normal_by_fan_out() -> None:
    torch.manual_seed(0)
    network = RamUNet(RamUNetConfig(), FUNDUS)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            fan_out = module.out_channels * math.prod(module.kernel_size)
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.03)


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
@pytest.mark.parametrize("activation", ["relu", "leaky"])
def test_norms_and_activations(norm: str, activation: str) -> None:
    network = RamUNet(RamUNetConfig.model_validate({"norm": norm, "activation": activation}), FUNDUS)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 2, 32, 32)
    assert parameters(network.encoder) == 1_967_904
    kinds = {type(m).__name__ for m in network.modules()}
    assert {"batch": "BatchNorm2d", "group": "GroupNorm", "instance": "InstanceNorm2d"}[norm] in kinds
    assert {"relu": "ReLU", "leaky": "LeakyReLU"}[activation] in kinds


def test_three_dimensions() -> None:
    network = RamUNet(RamUNetConfig(width=2), Task(1, ("background", "organ"), spatial_dims=3)).eval()
    assert network(torch.rand(1, 1, 16, 32, 16)).shape == (1, 2, 16, 32, 16)


def test_weights_from_a_file(tmp_path: Path) -> None:
    first = RamUNet(RamUNetConfig(width=2), FUNDUS).eval()
    save_file(first.state_dict(), tmp_path / "first.safetensors")
    second = RamUNet(RamUNetConfig(width=2, weights=tmp_path / "first.safetensors"), FUNDUS).eval()
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(first(x), second(x))
