from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.errors import BundleError, ConfigError, UnknownName
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.sample import Task

VOLUMES = Task(1, ("background", "organ"), spatial_dims=3)
PICTURES = Task(3, ("background", "organ"))


def build(task: Task, settings: dict[str, Any], pretrained: bool = True, **input_settings: Any) -> Network:
    ref = MemberRef.model_validate({"name": "unet", "widths": [2, 4, 8], **settings})
    return build_network(ref, task, InputConfig(**{"size": (32, 32), **input_settings}), pretrained=pretrained)


def test_slices_of_volumes_get_a_flat_network_with_neighbours_as_channels() -> None:
    network = build(VOLUMES, {}, neighbours=2)
    assert network.task.spatial_dims == 2
    assert network.in_channels == 5
    assert network.task.classes == VOLUMES.classes


def test_volumes_get_a_solid_network() -> None:
    assert build(VOLUMES, {}, size=(16, 32, 32)).task.spatial_dims == 3


def test_without_pretraining_no_weights_file_is_opened(tmp_path: Path) -> None:
    settings = {"weights": str(tmp_path / "gone.pth")}
    assert build(PICTURES, settings, pretrained=False).origin == "from scratch"
    with pytest.raises(BundleError, match="gone.pth: no such file"):
        build(PICTURES, settings)


def test_without_pretraining_imagenet_is_not_loaded() -> None:
    settings = {"name": "monai_net", "encoder": "efficientnet-lite0", "pretrained": "imagenet"}
    ref = MemberRef.model_validate(settings)
    network = build_network(ref, PICTURES, InputConfig(size=(64, 64)), pretrained=False)
    assert network.origin == "from scratch"
    assert network.input_mean.tolist() == [0.0, 0.0, 0.0]


def test_unknown_network() -> None:
    with pytest.raises(UnknownName, match="network: unknown network 'unett'. Did you mean 'unet'"):
        build(PICTURES, {"name": "unett"})


def test_unknown_setting() -> None:
    with pytest.raises(ConfigError, match="network unet: 1 problem.*\n.*width: unknown key. Did you mean 'widths'"):
        build(PICTURES, {"width": 3})


def test_an_input_the_network_cannot_take() -> None:
    with pytest.raises(ConfigError, match="input size is 30×32; unet needs multiples of 4. The nearest .* 32×32"):
        build(PICTURES, {}, size=(30, 32))


def test_a_volume_input_for_pictures() -> None:
    with pytest.raises(ConfigError, match="8×8×8; the task's images have 2 spatial dimensions"):
        build(PICTURES, {}, size=(8, 8, 8))
