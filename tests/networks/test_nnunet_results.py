from __future__ import annotations

import importlib
import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unshift import discover
from unshift.config import MemberRef, parse
from unshift.errors import BundleError, ConfigError, MissingDependency
from unshift.geometry import InputConfig
from unshift.networks.builders import trusted
from unshift.networks.building import build_network
from unshift.networks.nnunet_results import read_checkpoint, read_nnunet_results
from unshift.sample import Sample

KERNELS = {"n_stages": 4, "features_per_stage": [4, 8, 8, 8], "kernel_sizes": [[3, 3]] * 4}
LAYERS = {
    "conv_op": "torch.nn.modules.conv.Conv2d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
    "conv_bias": True,
}
FLAT: dict[str, Any] = {
    "patch_size": [64, 96],
    "spacing": [0.5, 0.5],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            **KERNELS,
            **LAYERS,
            "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
            "n_conv_per_stage": [2] * 4,
            "n_conv_per_stage_decoder": [2] * 3,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    },
}
OLD_VOLUME: dict[str, Any] = {
    "patch_size": [16, 32, 32],
    "spacing": [3.0, 1.0, 1.0],
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 8,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
}
PLANS: dict[str, Any] = {
    "transpose_forward": [0, 1, 2],
    "original_median_shape_after_transp": [1, 300, 400],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 100.0, "std": 50.0, "percentile_00_5": -100.0, "percentile_99_5": 300.0}
    },
    "configurations": {
        "2d": FLAT,
        "3d_fullres": OLD_VOLUME,
        "2d_small": {"inherits_from": "2d", "patch_size": [32, 32]},
        "3d_cascade_fullres": {**OLD_VOLUME, "previous_stage": "3d_lowres"},
        "round": {"inherits_from": "round"},
    },
}
DATASET = {"channel_names": {"0": "US"}, "labels": {"background": 0, "head": 1, "ignore": 2}}


def content(network: nn.Module | None = None) -> dict[str, Any]:
    """A checkpoint as nnU-Net's trainer writes it, NumPy's numbers in its log included."""
    return {
        "network_weights": network.state_dict() if network else {"weight": torch.ones(2)},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.75)], "lrs": [0.01], "epochs": [np.int64(3)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {"plans": PLANS, "fold": 0, "dataset_json": DATASET, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }


def results(
    tmp_path: Path, name: str = "2d", *, plans: Any = None, dataset: Any = None, network: nn.Module | None = None
) -> Path:
    folder = tmp_path / f"nnUNetTrainer__nnUNetPlans__{name}"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans or PLANS))
    (folder / "dataset.json").write_text(json.dumps(dataset or DATASET))
    torch.save(content(network), folder / "fold_0" / "checkpoint_final.pth")
    return folder


def changed(path: str, value: Any) -> dict[str, Any]:
    """The plans with one entry of the configuration 2d, or of its architecture, replaced."""
    plans = deepcopy(PLANS)
    place = plans["configurations"]["2d"]
    *parts, last = path.split("/")
    for part in parts:
        place = place[part]
    place[last] = value
    return plans


# ------------------------------------------------------------------------------------------------ what the files say


def test_a_flat_network(tmp_path: Path) -> None:
    found = read_nnunet_results(results(tmp_path))
    assert (found.task.channels, found.task.classes, found.task.spatial_dims) == (1, ("background", "head"), 2)
    assert found.input == InputConfig(mode="window", size=(64, 96))
    assert found.preprocessing == (MemberRef(name="zscore"),)
    assert (found.mirror, found.spacing) == (True, (0.5, 0.5))
    settings = dict(found.settings)
    assert settings["builder"] == "dynamic_network_architectures.architectures.unet:PlainConvUNet"
    assert settings["classes"] == {"conv_op": "Conv2d", "norm_op": "InstanceNorm2d", "nonlin": "LeakyReLU"}
    assert settings["size_divisor"] == [8, 8]
    told = settings["arguments"]
    assert (told["input_channels"], told["num_classes"], told["deep_supervision"]) == (1, 2, False)
    assert told["dropout_op"] is None
    assert len(found.limits) == 1


def test_plans_from_before_2_3(tmp_path: Path) -> None:
    plans = {**PLANS, "original_median_shape_after_transp": [90, 300, 400]}
    found = read_nnunet_results(results(tmp_path, "3d_fullres", plans=plans))
    told = found.settings["arguments"]
    assert told["features_per_stage"] == [4, 8, 8]
    assert told["n_conv_per_stage"] == [2, 2, 2]
    assert found.settings["classes"]["norm_op"] == "InstanceNorm3d"
    assert found.settings["size_divisor"] == [2, 4, 4]
    assert found.task.spatial_dims == 3
    assert "give them at 3 × 1 × 1 mm" in found.limits[0]


def test_ct_is_normalized_as_nnunet_does(tmp_path: Path) -> None:
    """(clip(HU, p0.5, p99.5) - mean) / std, redone with NumPy; here in two steps, the second in the network."""
    found = read_nnunet_results(results(tmp_path, "3d_fullres"))
    (ref,) = found.preprocessing
    member = discover.load("normalizations", ref.name)
    window = member(parse(member.Config, ref.settings, where="test"))
    hu = torch.linspace(-1000, 1000, 64).view(1, 4, 4, 4)
    scaled = window.views(Sample(hu, "case", "patient", "domain"))[0].image
    ours = (scaled - found.settings["mean"][0]) / found.settings["deviation"][0]
    np.testing.assert_allclose(ours.numpy(), (np.clip(hu.numpy(), -100, 300) - 100) / 50, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("NoNormalization", ()),
        ("RGBTo01Normalization", ()),
        ("RescaleTo01Normalization", (MemberRef.model_validate({"name": "min_max", "low": 0.0, "high": 100.0}),)),
    ],
)
def test_other_schemes(tmp_path: Path, scheme: str, expected: tuple[MemberRef, ...]) -> None:
    found = read_nnunet_results(results(tmp_path, plans=changed("normalization_schemes", [scheme])))
    assert found.preprocessing == expected
    assert "mean" not in found.settings


def test_configurations_inherit(tmp_path: Path) -> None:
    found = read_nnunet_results(results(tmp_path, "2d_small"))
    assert found.input.size == (32, 32)
    assert read_nnunet_results(results(tmp_path / "b", "2d_small"), configuration="2d").input.size == (64, 96)


def test_folds_and_masks_are_told(tmp_path: Path) -> None:
    folder = results(tmp_path, plans=changed("use_mask_for_norm", [True]))
    (folder / "fold_1").mkdir()
    torch.save(content(), folder / "fold_1" / "checkpoint_best.pth")
    found = read_nnunet_results(folder, fold="1")
    assert found.checkpoint == folder / "fold_1" / "checkpoint_best.pth"
    assert [text.split(";")[0] for text in found.limits[1:]] == [
        "nnU-Net normalized inside of what is not 0",
        "One of 2 folds is used",
    ]
    with pytest.raises(ConfigError, match=r"fold_2: has no checkpoint_final.pth .*there are \['fold_0', 'fold_1'\]"):
        read_nnunet_results(folder, fold="2")


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        ({**PLANS, "transpose_forward": [1, 0, 2]}, r"permutes the images' axes by \[1, 0, 2\]"),
        (changed("architecture/network_class_name", "someone.MyNet"), "architecture 'someone.MyNet'; PlainConvUNet"),
        (changed("architecture/arch_kwargs/conv_op", "os.system"), "conv_op is 'os.system'; a layer of torch.nn"),
        (changed("architecture/arch_kwargs/nonlin", "torch.hub.load"), "Other code is not run"),
        (changed("normalization_schemes", ["Mine"]), "unshift does one scheme for all channels"),
        (changed("normalization_schemes", ["CTNormalization", "ZScoreNormalization"]), "one scheme for all channels"),
        ({"configurations": PLANS["configurations"]}, "has no 'foreground|has no 'original_median"),
        ([1, 2], "holds list"),
    ],
)
def test_plans_that_cannot_be_followed(tmp_path: Path, plans: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_nnunet_results(results(tmp_path, plans=plans))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, "regions that overlap"),
        ({"background": 0, "head": 2}, "without gaps"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, labels: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_nnunet_results(results(tmp_path, dataset={**DATASET, "labels": labels}))


@pytest.mark.parametrize(
    ("name", "message"),
    [("3d_lowres", "no configuration '3d_lowres'"), ("round", "no configuration"), ("3d_cascade_fullres", "cascade")],
)
def test_configurations_that_cannot_be_built(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_nnunet_results(results(tmp_path, name))


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plans.json: no such file. Give the folder that nnU-Net wrote"):
        read_nnunet_results(tmp_path)
    (tmp_path / "plans.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_nnunet_results(tmp_path)


# --------------------------------------------------------------------------------------------------- the checkpoint


class Dangerous:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_a_checkpoint_is_read_without_running_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(content(), tmp_path / "good.pth")
    assert read_checkpoint(tmp_path / "good.pth")["logging"]["mean_fg_dice"] == [0.5, 0.75]
    torch.save({**content(), "logging": Dangerous()}, tmp_path / "bad.pth")
    with pytest.raises(BundleError, match="bad.pth: cannot be read without running code"):
        read_checkpoint(tmp_path / "bad.pth")
    assert "code ran" not in capsys.readouterr().out
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(BundleError, match="has no network_weights"):
        read_checkpoint(tmp_path / "other.pth")
    with pytest.raises(BundleError, match="cannot be read"):
        read_checkpoint(tmp_path / "none.pth")


def test_what_was_allowed_is_forbidden_again(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "good.pth")
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(tmp_path / "good.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_the_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures.unet", None)
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures", None)
    with pytest.raises(MissingDependency, match=r"dynamic_network_architectures with `'unshift\[nnunet\]'`"):
        read_nnunet_results(results(tmp_path)).network()


# ------------------------------------------------------------------------------------------------------ with [timm]


def image(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.timm
@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod."])
def test_the_network_is_the_librarys_own(tmp_path: Path, name: str, wrapper: str) -> None:
    library = importlib.import_module("dynamic_network_architectures.architectures.unet")
    blocks = {"n_conv_per_stage": [2] * 4} if name == "PlainConvUNet" else {"n_blocks_per_stage": [1, 2, 2, 2]}
    told = deepcopy(FLAT["architecture"]["arch_kwargs"])
    del told["n_conv_per_stage"]
    plans = changed("architecture/arch_kwargs", {**told, **blocks})
    plans["configurations"]["2d"]["architecture"]["network_class_name"] = f"dynamic.x.{name}"
    theirs = _theirs(library, name, {**told, **blocks})
    folder = results(tmp_path, plans=plans, network=theirs)
    if wrapper:
        state = {f"{wrapper}{key}": value for key, value in theirs.state_dict().items()}
        torch.save({**content(), "network_weights": state}, folder / "fold_0" / "checkpoint_final.pth")
    found = read_nnunet_results(folder)
    network = found.network()
    assert [(tap.stride, tap.channels) for tap in network.taps] == [(1, 4), (2, 8), (4, 8), (8, 8)]
    assert network.origin == "nnU-Net, nnUNetTrainer__nnUNetPlans__2d/fold_0"
    x = image(2, 1, 64, 96)
    theirs.decoder.deep_supervision = False
    with torch.no_grad():
        assert torch.equal(network(x), theirs.eval()(x))
        skips = theirs.encoder(x)
        expected = theirs.decoder([skip * 2 - 1 for skip in skips])
        assert torch.equal(network.restyled(x, lambda fs: [f * 2 - 1 for f in fs]), expected)
    ref = MemberRef.model_validate({"name": "own", **network.config.model_dump(mode="json")})
    assert build_network(trusted(ref), found.task, found.input, pretrained=False).taps == network.taps


def _theirs(library: Any, name: str, told: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    layers = {"conv_op": nn.Conv2d, "norm_op": nn.InstanceNorm2d, "nonlin": nn.LeakyReLU}
    return getattr(library, name)(input_channels=1, num_classes=2, deep_supervision=True, **{**told, **layers})


@pytest.mark.timm
def test_a_volume_with_axes_of_different_strides(tmp_path: Path) -> None:
    library = importlib.import_module("dynamic_network_architectures.architectures.unet")
    plans = {**PLANS, "original_median_shape_after_transp": [90, 300, 400]}
    found = read_nnunet_results(results(tmp_path, "3d_fullres", plans=plans))
    layers = {key: getattr(nn, name) for key, name in found.settings["classes"].items()}
    theirs = library.PlainConvUNet(**found.settings["arguments"], **layers).eval()
    torch.save(content(theirs), found.checkpoint)
    network = found.network()
    assert network.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert network.size_divisor == 2
    x = image(1, 1, 6, 12, 16)
    with torch.no_grad():
        mean, deviation = found.settings["mean"][0], found.settings["deviation"][0]
        torch.testing.assert_close(network(x), theirs((x - mean) / deviation))
