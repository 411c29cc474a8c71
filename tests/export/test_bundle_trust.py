"""Whose code a bundle may run: that of known libraries, and what the caller trusts by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.config import MemberRef
from unshift.errors import BundleError
from unshift.export.bundle import Bundle, load_bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.sample import Task


def student(channels: int = 1, classes: int = 2) -> torch.nn.Module:
    """A network of someone's own, as a bundle may name it."""
    return torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3, padding=1), torch.nn.Conv2d(4, classes, 1))


def foreign(builder: str, **arguments: Any) -> Bundle:
    task = Task(1, ("background", "lesion"))
    size = InputConfig(size=(32, 32))
    ref = MemberRef.model_validate({"name": "own", "builder": builder, "arguments": arguments, "size_divisor": 8})
    if "monai" not in builder:
        ref = MemberRef.model_validate({**ref.model_dump(), "taps": []})
    return Bundle(build_network(ref, task, size).eval(), task, size)


def test_foreign_code_is_run_for_those_who_trust_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "students.py").write_text("import torch\nMADE = []\n" + inspect.getsource(student))
    monkeypatch.syspath_prepend(tmp_path)
    made = foreign("students:student", channels=1)
    save_bundle(tmp_path / "b", made)
    monkeypatch.delitem(sys.modules, "students")
    with pytest.raises(BundleError, match=r"'students:student', which is foreign code: loading would run it"):
        load_bundle(tmp_path / "b")
    assert "students" not in sys.modules
    for trust in (["students:student"], ["students"]):
        back = load_bundle(tmp_path / "b", trust=trust)
        image = torch.rand(1, 1, 32, 32)
        assert torch.equal(back.network(image), made.network(image))


def test_network_classes_of_known_libraries_need_no_trust(tmp_path: Path) -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}
    made = foreign("monai.networks.nets:UNet", **arguments)
    save_bundle(tmp_path / "b", made)
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(load_bundle(tmp_path / "b").network(image), made.network(image))


def test_predict_finds_a_module_where_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pupils.py").write_text("import torch\n" + inspect.getsource(student))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    save_bundle(tmp_path / "b", foreign("pupils:student"))
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "pupils")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in (str(tmp_path), "")])
    importlib.invalidate_caches()
    plain = ["predict", "b", "image.png", "-o", "out"]
    refused = CliRunner().invoke(build(plain), plain)
    assert refused.exit_code == 2 and "foreign code" in refused.output
    trusting = [*plain, "--trust", "pupils:student"]
    done = CliRunner().invoke(build(trusting), trusting)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "image.png").is_file()
