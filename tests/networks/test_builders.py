from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from monai.networks import nets
from torch import nn

import foreign_networks
from unshift.config import MemberRef
from unshift.errors import BundleError, ConfigError, MissingDependency
from unshift.networks.builders import build, find_builder, source_file, trusted

BASIC = "monai.networks.nets:BasicUNet"
ARGUMENTS = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}


def reference(builder: Any, **arguments: Any) -> MemberRef:
    return MemberRef.model_validate({"name": "own", "builder": builder, "arguments": arguments})


# ------------------------------------------------------------------------------------------------------- building


def test_a_function_and_a_class() -> None:
    assert isinstance(build("foreign_networks:student", {"classes": 4}, {}), foreign_networks.Student)
    assert isinstance(build(BASIC, ARGUMENTS, {}), nets.BasicUNet)
    assert find_builder("foreign_networks:Blocks.Down") is foreign_networks.Blocks.Down


def test_arguments_that_are_layers_come_by_name() -> None:
    layer = build("torch.nn:TransformerEncoderLayer", {"d_model": 4, "nhead": 2}, {})
    assert isinstance(layer, nn.TransformerEncoderLayer)
    with pytest.raises(ConfigError, match="class conv: 'system' is no layer of torch.nn"):
        build("foreign_networks:student", {}, {"conv": "system"})
    with pytest.raises(ConfigError, match=r"\['conv'\] stand under both"):
        build("foreign_networks:student", {"conv": 1}, {"conv": "Conv2d"})


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("monai.networks.nets.BasicUNet", "package.module:function_or_class is required"),
        ("no_such_package.model:net", "no module 'no_such_package'.*PYTHONPATH"),
        ("foreign_networks.part:net", "no module 'foreign_networks.part'"),
        ("foreign_networks:pupil", "is not there. Give one that returns a torch.nn.Module"),
        ("foreign_networks:TEXT", "is no function or class"),
        ("foreign_networks:number", "returned int; a torch.nn.Module is required"),
    ],
)
def test_builders_that_are_none(builder: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(builder, {}, {})


def test_a_builder_that_refuses_its_arguments() -> None:
    with pytest.raises(ConfigError, match=r"refuses \{'clases': 2\}: .*clases"):
        build("foreign_networks:student", {"clases": 2}, {})


def test_packages_that_are_missing_or_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "breaks.py").write_text("raise RuntimeError('operator nms does not exist')\n")
    with pytest.raises(MissingDependency, match="needs_more cannot be imported .*a_package_that_is_not_there"):
        build("needs_more:net", {}, {})
    with pytest.raises(MissingDependency, match="breaks does not work with torch 2.*nms does not exist"):
        build("breaks:net", {}, {})
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingDependency, match=r"pip install 'unshift\[timm\]'"):
        build("segmentation_models_pytorch:Unet", {}, {})


def test_the_file_that_holds_a_builder_is_found_without_running_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "explosive.py").write_text("raise AssertionError('it ran')\n")
    assert source_file("explosive:net") == tmp_path / "explosive.py"
    assert source_file("no_such_package.model:net") is None


# ---------------------------------------------------------------------------------------------------------- trust


def test_network_classes_of_known_libraries_need_no_trust() -> None:
    ref = reference(BASIC, **ARGUMENTS)
    assert trusted(ref) == ref
    assert trusted(MemberRef(name="unet")) == MemberRef(name="unet")


def test_what_would_fetch_weights_is_switched_off() -> None:
    ref = trusted(reference("monai.networks.nets:FlexibleUNet", in_channels=3, out_channels=2, pretrained=True))
    assert ref.settings["arguments"]["pretrained"] is False


@pytest.mark.parametrize(
    "builder",
    [
        "os:system",
        "subprocess:run",
        "foreign_networks:student",
        "torch.nn:Sequential",
        "monai.networks.netsy:Unet",
        "monai.bundle:load",
        "monai.networks.nets.basic_unet.os:system",
        7,
        ["monai.networks.nets:UNet"],
    ],
)
def test_foreign_code_is_not_run_for_a_bundle(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} was imported"))
    if builder == "monai.networks.nets.basic_unet.os:system":
        monkeypatch.undo()  # a module below a known one may be imported; there is no such one
        with pytest.raises(MissingDependency, match="basic_unet"):
            trusted(reference(builder))
        return
    with pytest.raises(BundleError, match=r"foreign code: loading would run it.*trust="):
        trusted(reference(builder))


@pytest.mark.parametrize("name", ["resnet18", "torch", "basic_unet.nn.Sequential", "resnet.os.system"])
def test_only_network_classes_of_the_library_itself(name: str) -> None:
    with pytest.raises((BundleError, ConfigError), match="is no network class of monai|is no function|is not there"):
        trusted(reference(f"monai.networks.nets:{name}"))


@pytest.mark.parametrize("value", ["hf-hub:someone/model", "../../weights.pth", {"deep": ["C:\\weights"]}])
def test_arguments_that_name_files_or_addresses_are_refused(value: Any) -> None:
    with pytest.raises(BundleError, match="name files or addresses"):
        trusted(reference(BASIC, **ARGUMENTS, act=value))


def test_trust_by_name() -> None:
    ref = reference("foreign_networks:student", file="a/b")
    for trust in (["foreign_networks:student"], ["foreign_networks"]):
        assert trusted(ref, trust) == ref
    for trust in (["foreign"], ["foreign_networks:other"], [""]):
        with pytest.raises(BundleError, match="foreign code"):
            trusted(ref, trust)


def test_an_object_cannot_be_built_again() -> None:
    with pytest.raises(BundleError, match="handed over as an object.*Give own_network a `builder`"):
        trusted(reference(None))


def test_known_classes_are_modules() -> None:
    assert issubclass(find_builder(BASIC), nn.Module)
