"""VGG against a plain stack of functions, and every place that weights can come from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from shutil import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from unshift.errors import BundleError, DataError, ShapeMismatch, UnknownName
from unshift.normalizations import vgg as module
from unshift.normalizations.vgg import Vgg, VggName, cache_folder, find_vgg, load_vgg, vgg_files
from untrained import write_untrained_vgg

TORCHVISION = {
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}
"""Places of the convolutions in ``torchvision.models``: read off its files."""


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable, folder in {"UNSHIFT_CACHE": "own", "TORCH_HOME": "torch", "HF_HOME": "hf"}.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


def images(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side + 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "millions"), [("vgg16", 14.714688), ("vgg19", 20.024384)])
def test_names_and_sizes_are_those_of_torchvisions_files(name: VggName, millions: float) -> None:
    with torch.device("meta"):
        state = Vgg(name).state_dict()
    assert list(state) == [f"features.{i}.{kind}" for i in TORCHVISION[name] for kind in ("weight", "bias")]
    assert sum(value.numel() for value in state.values()) == round(millions * 1e6)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_features_by_hand(name: VggName, standardize: bool, tmp_path: Path) -> None:
    write_untrained_vgg(tmp_path / "w.safetensors", name)
    network, _ = load_vgg(name, tmp_path / "w.safetensors", standardize=standardize)
    weights, x, expected = load_file(tmp_path / "w.safetensors"), images(), {}
    if standardize:
        x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    places = iter(TORCHVISION[name])
    for block, count in enumerate((2, 2, 3, 3, 3) if name == "vgg16" else (2, 2, 4, 4, 4), start=1):
        for index in range(1, count + 1):
            place = next(places)
            x = F.relu(F.conv2d(x, weights[f"features.{place}.weight"], weights[f"features.{place}.bias"], padding=1))
            expected[f"relu{block}_{index}"] = x
        x = F.max_pool2d(x, 2)
    found = network(images(), list(expected))
    assert list(found) == list(expected)
    for tap, feature in expected.items():
        torch.testing.assert_close(found[tap], feature)
    assert list(network(images(), ["relu3_1", "relu1_2"])) == ["relu1_2", "relu3_1"]
    assert network(images(), []) == {}


def test_what_it_cannot_take_is_said() -> None:
    network = Vgg("vgg16", (2, 2, 2))
    with pytest.raises(UnknownName, match=r"unknown layer of VGG-16 'relu3_4'.*Did you mean 'relu3_3'"):
        network(images(), ["relu3_4"])
    with pytest.raises(ShapeMismatch, match=r"2×3×3×6; batch × 3 × at least 4 × 4 is required"):
        network(images(3), ["relu3_3"])
    with pytest.raises(ShapeMismatch, match="2×1×32×35"):
        network(images()[:, :1], ["relu1_1"])
    assert network(images(4), ["relu3_3"])["relu3_3"].shape == (2, 2, 1, 1)


def test_widths_are_the_files_and_heads_are_left_aside(tmp_path: Path) -> None:
    written = write_untrained_vgg(tmp_path / "w.safetensors", widths=(2, 3, 4, 5, 6))
    heads = {
        "classifier.0.weight": torch.ones(2),
        "pre_logits.fc1.weight": torch.ones(2),
        "head.fc.bias": torch.ones(2),
    }
    torch.save({"state_dict": {**written.state_dict(), **heads}}, tmp_path / "w.pth")
    network, origin = load_vgg("vgg16", tmp_path / "w.pth")
    assert [network(images(), ["relu5_3"])["relu5_3"].shape[1], len(list(network.parameters()))] == [6, 26]
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert origin == "VGG-16 of the file w.pth, which does not say where it comes from"
    short, _ = load_vgg("vgg16", tmp_path / "w.pth", blocks=3)
    assert torch.equal(short(images(), ["relu3_3"])["relu3_3"], network(images(), ["relu3_3"])["relu3_3"])
    assert len(list(short.parameters())) == 14
    again, _ = load_vgg("vgg16", write_state(tmp_path / "short.safetensors", short), blocks=3)
    assert torch.equal(again(images(), ["relu3_3"])["relu3_3"], short(images(), ["relu3_3"])["relu3_3"])


def write_state(path: Path, network: Vgg) -> Path:
    save_file(network.state_dict(), path)
    return path


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    written = write_untrained_vgg(tmp_path / "19.safetensors", "vgg19").state_dict()
    with pytest.raises(BundleError, match=r"is no VGG-16; found features\.0\.bias, .* \[0, 5, 10, 17, 24\]"):
        load_vgg("vgg16", tmp_path / "19.safetensors")
    save_file({**written, "features.3.running_mean": torch.ones(2)}, tmp_path / "bn.safetensors")
    with pytest.raises(BundleError, match=r"1 unknown: features\.3\.running_mean"):
        load_vgg("vgg19", tmp_path / "bn.safetensors")
    del written["features.12.bias"]
    save_file(written, tmp_path / "hole.safetensors")
    with pytest.raises(BundleError, match=r"1 missing: features\.12\.bias"):
        load_vgg("vgg19", tmp_path / "hole.safetensors")
    with pytest.raises(BundleError, match="no such file"):
        load_vgg("vgg16", tmp_path / "none.safetensors")


def test_what_is_at_hand_is_found_in_order_and_named(empty_caches: Path) -> None:
    with pytest.raises(DataError) as nothing:
        load_vgg("vgg16")
    for way in ("weights: torchvision", "weights: PATH", "unshift prepare vgg16 --content FOLDER"):
        assert way in str(nothing.value)
    assert vgg_files("vgg16", None) == ()

    own = empty_caches / "own" / "vgg16.safetensors"
    write_untrained_vgg(own, origin="VGG-16 trained by unshift on 7 content images")
    assert cache_folder() == empty_caches / "own" and find_vgg("vgg16") == own and find_vgg("vgg19") is None
    assert load_vgg("vgg16")[1] == "VGG-16 trained by unshift on 7 content images (vgg16.safetensors)"

    model = empty_caches / "hf" / "hub" / "models--timm--vgg16.tv_in1k"
    for version in ("a", "b"):
        write_untrained_vgg(model / "snapshots" / version / "model.safetensors", origin="")
    assert find_vgg("vgg16") == model / "snapshots" / "a" / "model.safetensors"
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("b")
    assert find_vgg("vgg16") == model / "snapshots" / "b" / "model.safetensors"
    assert load_vgg("vgg16")[1] == "VGG-16 on ImageNet, timm's vgg16.tv_in1k"

    hub = empty_caches / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    written = write_untrained_vgg(hub, seed=1)
    network, origin = load_vgg("vgg16")
    assert origin == "VGG-16 on ImageNet, torchvision's vgg16-397923af.pth"
    assert torch.equal(network.state_dict()["features.0.weight"], written.state_dict()["features.0.weight"])
    assert vgg_files("vgg16", None) == (hub,) and vgg_files("vgg16", own) == (own,)
    assert vgg_files("vgg16", "torchvision") == vgg_files("vgg16", own.with_name("none")) == ()


def test_the_cache_is_in_the_home_folder_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UNSHIFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "unshift"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A local stand-in for torchvision's server that serves ``tmp_path/served``."""
    (tmp_path / "served").mkdir()
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_torchvisions_file_is_downloaded_once_and_its_hash_verified(
    server: str, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = empty_caches / "served"
    written = write_untrained_vgg(served / "w.pth")
    begin = hashlib.sha256((served / "w.pth").read_bytes()).hexdigest()[:8]
    for verified in (begin, "00000000"):
        copy(served / "w.pth", served / f"vgg16-{verified}.pth")
    monkeypatch.setitem(module._URLS, "vgg16", f"{server}/vgg16-00000000.pth")
    with pytest.raises(DataError, match=r"VGG-16: could not be fetched .*invalid hash value.*unshift prepare vgg16"):
        load_vgg("vgg16", "torchvision")
    assert find_vgg("vgg16") is None

    monkeypatch.setitem(module._URLS, "vgg16", f"{server}/vgg16-{begin}.pth")
    network, origin = load_vgg("vgg16", "torchvision")
    assert origin == f"VGG-16 on ImageNet, torchvision's vgg16-{begin}.pth"
    assert torch.equal(network.state_dict()["features.28.bias"], written.state_dict()["features.28.bias"])
    (served / f"vgg16-{begin}.pth").unlink()
    load_vgg("vgg16", "torchvision")
    assert load_vgg("vgg16")[1] == origin
    monkeypatch.setitem(module._URLS, "vgg16", f"{server}/vgg16-11111111.pth")
    with pytest.raises(DataError, match=r"could not be fetched .*404"):
        load_vgg("vgg16", "torchvision")
