from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from unshift.errors import BundleError, ShapeMismatch
from unshift.networks.unet import MEMBER, UNet, UNetConfig
from unshift.sample import Task

FLAT = Task(3, ("background", "organ"))
SOLID = Task(1, ("background", "organ"), spatial_dims=3)
SMALL = (2, 4, 8)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_it_is_the_member() -> None:
    assert MEMBER is UNet


@pytest.mark.parametrize(("channels", "count"), [(3, 34_527_041), (1, 34_525_889)])
def test_the_papers_number_of_parameters(channels: int, count: int) -> None:
    with torch.device("meta"):
        network = UNet(UNetConfig(outputs=1), Task(channels, ("background", "organ")))
    assert parameters(network) == count


def test_parameters_by_hand() -> None:
    """conv k, i -> o with bias: k²·i·o + o; batch norm: 2·o. Widths 2 and 4, 3 -> 2 channels."""
    conv = lambda k, i, o: k * k * i * o + o  # noqa: E731
    block = lambda i, o: conv(3, i, o) + 2 * o  # noqa: E731
    by_hand = block(3, 2) + block(2, 2) + block(2, 4) + block(4, 4) + block(4, 2) + block(4, 2) + block(2, 2)
    assert parameters(UNet(UNetConfig(widths=(2, 4)), FLAT)) == by_hand + conv(1, 2, 2)


def test_forward_by_hand() -> None:
    """Two levels without norms, written out with functional calls: pool, nearest ×2, the skip first."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(widths=(2, 4), norm="none"), FLAT)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    down = [c for m in network.down for c in m.modules() if isinstance(c, nn.Conv2d)]
    (up,) = [c for c in network.up.modules() if isinstance(c, nn.Conv2d)]
    merge = [c for c in network.merge.modules() if isinstance(c, nn.Conv2d)]
    assert len(convolutions) == len(down) + len(merge) + 2
    relu = lambda conv, x: F.conv2d(x, conv.weight, conv.bias, padding=1).relu()  # noqa: E731
    x = torch.rand(1, 3, 8, 8)
    skip = relu(down[1], relu(down[0], x))
    deep = relu(down[3], relu(down[2], F.max_pool2d(skip, 2)))
    raised = relu(up, deep.repeat_interleave(2, -1).repeat_interleave(2, -2))
    merged = relu(merge[1], relu(merge[0], torch.cat([skip, raised], 1)))
    expected = F.conv2d(merged, network.head.weight, network.head.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(network(x), expected)


def test_taps_of_the_paper() -> None:
    with torch.device("meta"):
        taps = UNet(UNetConfig(), FLAT).taps
    assert [(t.name, t.stride, t.channels) for t in taps] == [
        ("level_1", 1, 64),
        ("level_2", 2, 128),
        ("level_3", 4, 256),
        ("level_4", 8, 512),
        ("level_5", 16, 1024),
    ]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_three_dimensions(norm: str) -> None:
    network = UNet(UNetConfig.model_validate({"widths": SMALL, "norm": norm}), SOLID).eval()
    assert network(torch.rand(1, 1, 8, 16, 8)).shape == (1, 2, 8, 16, 8)


def test_neighbour_slices_are_channels() -> None:
    network = UNet(UNetConfig(widths=SMALL), Task(1, ("background", "organ")), channels=5).eval()
    assert network.in_channels == len(network.input_mean) == 5
    assert network(torch.rand(1, 5, 8, 8)).shape == (1, 2, 8, 8)


def test_instance_norm_cannot_see_one_pixel() -> None:
    network = UNet(UNetConfig(widths=SMALL, norm="instance"), FLAT).eval()
    with pytest.raises(ShapeMismatch, match="at least 8. The nearest good size is 8×8"):
        network(torch.rand(1, 3, 4, 4))
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 2, 8, 8)


def test_weights_from_a_file_bring_their_standardization(tmp_path: Path) -> None:
    first = UNet(UNetConfig(widths=SMALL), FLAT).eval()
    first.standardize(torch.tensor([0.5, 0.4, 0.3]), torch.ones(3))
    save_file(first.state_dict(), tmp_path / "first.safetensors")
    second = UNet(UNetConfig(widths=SMALL, weights=tmp_path / "first.safetensors"), FLAT).eval()
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(first(x), second(x))
    assert second.origin == "weights file first.safetensors"
    second.standardize(torch.zeros(3), torch.ones(3))
    assert torch.equal(second.input_mean, torch.tensor([0.5, 0.4, 0.3]))


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    save_file(UNet(UNetConfig(widths=(2, 4, 16)), FLAT).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(BundleError, match=r"of another shape: .*\[16, 4, 3, 3\] in the file, \[8, 4, 3, 3\] required"):
        UNet(UNetConfig(widths=SMALL, weights=tmp_path / "other.safetensors"), FLAT)
