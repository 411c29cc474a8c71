from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from monai.utils import optional_import
from safetensors.torch import save_file

from unshift.config import parse
from unshift.errors import BundleError, ConfigError, MissingDependency, UnknownName
from unshift.networks.monai_net import MEMBER, MonaiNet, MonaiNetConfig, architectures
from unshift.networks.monai_split import SPLITS
from unshift.sample import Task

TASK = Task(3, ("background", "organ"))
SOLID = Task(1, ("background", "organ"), spatial_dims=3)
UNET = {"architecture": "UNet", "arguments": {"channels": [4, 8, 16], "strides": [2, 2]}}


def build(task: Task = TASK, **settings: Any) -> MonaiNet:
    return MonaiNet(parse(MonaiNetConfig, settings, where="network monai_net"), task)


def test_the_default_is_the_colour_papers_network() -> None:
    """FlexibleUNet, EfficientNet-B2: the same logits as MONAI's with the same weights, without its idle head."""
    theirs = nets.FlexibleUNet(3, 2, "efficientnet-b2").eval()
    ours = build().eval()
    idle = ("encoder._conv_head.", "encoder._bn1.", "encoder._fc.")
    state = {n: v for n, v in theirs.state_dict().items() if not n.startswith(idle)}
    ours.body.load_state_dict(state)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert MEMBER is MonaiNet
    assert [(t.stride, t.channels) for t in ours.taps] == [(2, 16), (4, 24), (8, 48), (16, 120), (32, 352)]


def test_lists_of_a_recipe_become_tuples_and_taps_follow_them() -> None:
    network = build(**UNET)
    assert network.size_divisor == 4
    assert [(t.name, t.stride, t.channels) for t in network.taps] == [
        ("level_1", 2, 4),
        ("level_2", 4, 8),
        ("level_3", 4, 16),
    ]
    norm = build(architecture="BasicUNet", arguments={"norm": ["group", {"num_groups": 4}]})
    assert any(isinstance(m, torch.nn.GroupNorm) for m in norm.modules())


def test_three_dimensions() -> None:
    network = build(SOLID, architecture="SegResNet", arguments={"init_filters": 8}).eval()
    assert network(torch.rand(1, 1, 16, 16, 24)).shape == (1, 2, 16, 16, 24)


@pytest.mark.parametrize(
    ("architecture", "arguments", "divisor"),
    [
        ("AttentionUnet", {"channels": [4, 8], "strides": [2]}, 2),
        ("DynUNet", {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}, 4),
        ("SegResNetDS", {"init_filters": 8}, 8),
    ],
)
def test_other_architectures_run_whole(architecture: str, arguments: dict[str, Any], divisor: int) -> None:
    network = build(architecture=architecture, arguments=arguments, size_divisor=divisor).eval()
    x = torch.rand(1, 3, 32, 32)
    network.standardize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    with torch.no_grad():
        assert torch.equal(network(x), network.body((x - 0.5) / 0.25))
    assert network.taps == ()
    for call in (lambda: network.encode(x), lambda: network.decode([x])):
        with pytest.raises(ConfigError, match=f"{architecture}: encoder and decoder cannot be separated.*BasicUNet"):
            call()


def test_all_architectures_with_a_split_are_known() -> None:
    assert SPLITS.keys() <= architectures().keys()
    assert {"UNETR", "SwinUNETR", "DynUNet", "VNet", "MedNeXt"} <= architectures().keys()


# ----------------------------------------------------------------------------------------------------- weights


def test_encoder_weights_from_a_file(tmp_path: Path) -> None:
    first = build(encoder="resnet10")
    save_file(first.body.encoder.state_dict(), tmp_path / "e.safetensors")
    settings = {"weights": str(tmp_path / "e.safetensors"), "mean": [0.1, 0.2, 0.3], "deviation": [1, 1, 2]}
    second = build(encoder="resnet10", **settings)
    for name, value in second.body.encoder.state_dict().items():
        assert torch.equal(value, first.body.encoder.state_dict()[name])
    assert second.origin == "encoder weights from e.safetensors"
    torch.testing.assert_close(second.input_mean, torch.tensor([0.1, 0.2, 0.3]))
    gray = build(Task(1, TASK.classes), encoder="resnet10", **settings)
    torch.testing.assert_close(gray.body.encoder.conv1.weight, first.body.encoder.conv1.weight.sum(1, keepdim=True))


def test_the_weights_of_a_model_that_the_user_brings(tmp_path: Path) -> None:
    """A MONAI model trained elsewhere, saved by torch.save(model.state_dict()), gives its own logits."""
    theirs = nets.UNet(2, 3, 2, channels=(4, 8, 16), strides=(2, 2)).eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    settings = {"weights": str(tmp_path / "model.pth"), "weights_of": "network", "mean": [0] * 3, "deviation": [1] * 3}
    ours = build(**UNET, **settings).eval()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert ours.origin == "network weights from model.pth"
    with pytest.raises(ConfigError, match="UNet: has no encoder of its own to load. Set `weights_of: network`"):
        build(**UNET, **{**settings, "weights_of": "encoder"})
    with pytest.raises(BundleError, match=r"model.pth: the weights do not fit"):
        build(architecture="BasicUNet", **settings)


# ------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "BasicUnet2"}, "unknown MONAI architecture 'BasicUnet2'. Did you mean 'BasicUNet'"),
        ({"encoder": "efficientnet-b22"}, "unknown encoder of FlexibleUNet .* Did you mean 'efficientnet-b2'"),
        ({"arguments": {"drop_out": 0.1}}, "unknown argument of FlexibleUNet 'drop_out'. Did you mean 'dropout'"),
        ({"arguments": {"in_channels": 1}}, "argument 'in_channels' is set by unshift"),
        ({"arguments": {"backbone": "resnet18"}}, "argument 'backbone' is set by unshift"),
        ({"architecture": "BasicUNet", "encoder": "resnet18"}, "BasicUNet: takes no encoder; found 'resnet18'"),
        ({"architecture": "BasicUNet", "arguments": {"features": [1, 2]}}, "BasicUNet: MONAI refuses"),
        ({"architecture": "UNet", "arguments": {"channels": [4, 8]}}, "UNet: MONAI refuses .* 'strides'"),
        ({"architecture": "HighResNet"}, "HighResNet: what its input's sides must be multiples of is not known"),
        ({"size_divisor": 16}, "FlexibleUNet: size_divisor is known; remove"),
        ({**UNET, "pretrained": "imagenet"}, "UNet: has no ImageNet weights"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**settings)


def test_a_package_that_monai_misses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(torch.nn.Module):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            optional_import("a_package_that_nobody_has")[0].anything()

    monkeypatch.setattr(nets, "Needy", Needy, raising=False)
    with pytest.raises(
        MissingDependency, match=r"Needy: MONAI needs .*a_package_that_nobody_has.* Install it with pip"
    ):
        build(architecture="Needy", size_divisor=1)


def test_the_nearest_argument_is_offered_without_ours() -> None:
    with pytest.raises(UnknownName) as error:
        build(arguments={"pretrain": True})
    assert "pretrained" not in error.value.known


def test_an_output_that_is_no_logits() -> None:
    arguments = {"features": [4, 4, 8, 8, 16, 4], "deep_supervision": True}
    network = build(architecture="BasicUNetPlusPlus", arguments=arguments, size_divisor=16).eval()
    with pytest.raises(ConfigError, match=r"its output is list; logits \[1, 2, 32, 32\] are required"):
        network(torch.rand(1, 3, 32, 32))
