"""`unshift prepare` as a person meets it: weights from made-up textures or photographs, and honest refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from unshift.cli.main import build
from unshift.discover import load
from unshift.sample import Sample

TINY = ("--count", "8", "--steps", "2", "--batch", "2", "--size", "32", "--accelerator", "cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("UNSHIFT_CACHE", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path / "UNSHIFT_CACHE"


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in ("prepare", *arguments)]
    return CliRunner().invoke(build(texts), texts)


def test_from_nothing_to_a_normalization(cache: Path) -> None:
    missing = call("wct_ain", *TINY)
    assert missing.exit_code == 2
    assert "unshift prepare vgg16" in " ".join(missing.output.split())
    assert "Traceback" not in missing.output

    features = call("vgg16", "--width", "4", *TINY)
    assert features.exit_code == 0, features.output
    assert "without labels" in features.output and "made-up textures" in features.output

    decoder = call("wct_ain", "--json", *TINY)
    assert decoder.exit_code == 0, decoder.output
    document = json.loads(decoder.stdout)
    assert document["weights"] == str(cache / "wct_ain.safetensors")
    assert document["figures"]["psnr"] > 0

    member = load("normalizations", "wct_ain")
    sample = Sample(torch.rand(1, 20, 20), "a", "a", "x")
    normalization = member(member.Config()).fit([sample])
    assert normalization.origin == document["origin"]
    assert normalization.views(sample)[0].image.isfinite().all()


def test_wrong_options_are_named(tmp_path: Path) -> None:
    refused = {
        ("vgg16", "--encoder", "torchvision"): "it is one",
        ("wct_ain", "--width", "8"): "widths of its encoder",
        ("vgg16", "--size", "33"): "multiple of 16",
        ("vgg16", "--content", str(tmp_path / "nowhere"), "--width", "2"): "no such folder",
    }
    for arguments, words in refused.items():
        result = call(*arguments)
        assert result.exit_code == 2, result.output
        assert words in " ".join(result.output.split())
    assert call("vgg11").exit_code == 2
