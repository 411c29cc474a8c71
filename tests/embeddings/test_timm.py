"""timm's models: weights from a file, the model's own standardization, and errors that say what to do."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unshift.embeddings.timm import Timm
from unshift.errors import BundleError, ConfigError, DataError, MissingDependency

MODEL = "resnet10t"


@pytest.mark.timm
def test_it_is_timms_pooled_feature_with_weights_of_a_file(tmp_path: Path) -> None:
    timm = importlib.import_module("timm")
    torch.manual_seed(0)
    model = timm.create_model(MODEL, pretrained=False, num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    embedding = Timm(Timm.Config(model=MODEL, weights=tmp_path / "w.safetensors", size=64))
    embedding.begin()
    picture = torch.rand(2, 3, 64, 64)
    record = model.pretrained_cfg
    mean, deviation = (torch.tensor(record[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = model.forward_head(model.forward_features((picture - mean) / deviation), pre_logits=True)
    torch.testing.assert_close(embedding(picture), torch.nn.functional.normalize(expected.detach(), dim=1))
    assert embedding.fingerprint["model"] == f"timm {MODEL}" and embedding.fingerprint["size"] == "64"
    again = Timm(Timm.Config(model=MODEL, size=64))
    again.load_state_dict(embedding.state_dict())
    assert again.fingerprint == embedding.fingerprint and torch.equal(again(picture), embedding(picture))


@pytest.mark.timm
def test_a_transformer_is_built_for_the_size(tmp_path: Path) -> None:
    embedding = Timm(Timm.Config(model="vit_tiny_patch16_224", size=32))
    assert embedding(torch.rand(1, 1, 50, 40)).shape == (1, 192)


@pytest.mark.timm
def test_what_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no model 'resnet10'.* Did you mean 'resnet10t'"):
        Timm(Timm.Config(model="resnet10"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot be fetched .* set `weights: PATH`"):
        Timm(Timm.Config(model="vit_tiny_patch16_224")).begin()
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BundleError, match="do not fit"):
        Timm(Timm.Config(model=MODEL, weights=tmp_path / "other.safetensors")).begin()


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'unshift\[timm\]'.*embedding: lite2"):
        Timm(Timm.Config())
