"""A bank from a folder: resumed, extended and built at once it is the same file; nothing that fails is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unshift.config import MemberRef
from unshift.errors import BundleError, ConfigError, DataError
from unshift.experiment import banking
from unshift.experiment.banking import Recipe, build_bank, describe_bank
from unshift.export.bundle import Bundle, load_bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.normalizations.bank import Bank
from unshift.normalizations.dcin import Dcin
from unshift.sample import Sample
from untrained import untrained_network

NONE = Recipe(embedding=MemberRef(name="none"))


def write(folder: Path, numbers: range, *, side: int = 24) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        coarse = np.random.default_rng(number).integers(60, 200, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def model() -> Bundle:
    network = untrained_network(3)
    return Bundle(network, network.task, InputConfig(size=(32, 32)))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banking, "PART", 3)


def test_stopped_and_extended_it_is_the_bank_that_is_built_at_once(tmp_path: Path, model: Bundle) -> None:
    recipe, images = Recipe(("lab", "reinhard"), MemberRef(name="segmenter"), model), tmp_path / "images"
    write(images, range(10))
    whole = build_bank(images, tmp_path / "whole", recipe)
    assert (whole.added, whole.kept, whole.failed) == (10, 0, ())

    def stop(done: int, total: int, name: str) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_bank(images, tmp_path / "stopped", recipe, listener=stop)
    parts = [Bank.load(path) for path in sorted((tmp_path / "stopped.parts").iterdir())]
    assert not (tmp_path / "stopped").exists() and [len(part) for part in parts] == [3, 3, 2]  # nothing is lost
    seen: list[str] = []
    assert build_bank(images, tmp_path / "stopped", recipe, listener=lambda d, t, n: seen.append(n)).added == 10
    assert len(seen) == 10 and not (tmp_path / "stopped.parts").exists()

    some = write(tmp_path / "some" / "images", range(4))
    assert build_bank(some, tmp_path / "grown", recipe).added == 4
    write(some, range(10))
    grown = build_bank(some, tmp_path / "grown", recipe)
    assert (grown.added, grown.kept) == (6, 4)
    contents = [(tmp_path / name).read_bytes() for name in ("whole", "stopped", "grown")]
    assert contents[0] == contents[1] == contents[2]
    assert build_bank(images, tmp_path / "whole", recipe).added == 0


def test_what_cannot_be_used_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    images = write(tmp_path / "images", range(5))
    (images / "02.png").write_bytes((images / "02.png").read_bytes()[:60])
    built = build_bank(images, tmp_path / "bank", NONE)
    assert (built.added, len(built.failed)) == (4, 1)
    assert built.failed[0][0].endswith("02.png") and "Copy it again" in built.failed[0][1]
    write(images, range(5))
    again = build_bank(images, tmp_path / "bank", NONE)
    assert (again.added, again.kept, again.failed) == (1, 4, ())
    write(images, range(1), side=30)
    changed = build_bank(images, tmp_path / "bank", NONE)
    assert "the bank has another image of the name 'images/00'" in changed.failed[0][1]
    for path in images.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 5 image"):
        build_bank(images, tmp_path / "other", NONE)


def test_other_makings_are_refused(tmp_path: Path, model: Bundle) -> None:
    images = write(tmp_path / "images", range(3))
    build_bank(images, tmp_path / "bank", NONE)
    with pytest.raises(BundleError, match="model: nothing there, segmenter UNet"):
        build_bank(images, tmp_path / "bank", Recipe(bundle=model))
    with pytest.raises(BundleError, match="statistics of lab; reinhard were asked for"):
        build_bank(images, tmp_path / "bank", Recipe(("reinhard",), NONE.embedding))
    with pytest.raises(ConfigError, match="no trained network"):
        build_bank(images, tmp_path / "new", Recipe())
    with pytest.raises(ConfigError, match="is a folder"):
        build_bank(images, images, NONE)


def test_dcin_takes_it_and_a_bundle_works_elsewhere(tmp_path: Path, model: Bundle) -> None:
    images = write(tmp_path / "images", range(6))
    bank = build_bank(images, tmp_path / "bank", Recipe(bundle=model)).bank
    assert describe_bank(bank)["images"] == 6 and bank.fingerprint["preprocessing"] == "none"
    method = Dcin(Dcin.Config(bank=tmp_path / "bank"))
    method.bind(model.network, (32, 32))
    with_dcin = Bundle(model.network, model.task, model.input, normalizations=(method.fit([]),))
    save_bundle(tmp_path / "saved", with_dcin)
    for path in (*images.iterdir(), tmp_path / "bank"):
        path.unlink()
    assert str(tmp_path) not in (tmp_path / "saved" / "bundle.yaml").read_text()
    loaded = load_bundle(tmp_path / "saved")
    sample = Sample(torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.2, "c", "p", "d")
    one, other = (bundle.predictor().predict(sample) for bundle in (with_dcin, loaded))
    assert torch.equal(one.label_map, other.label_map) and one.references == other.references
    assert [r.kind for r in other.references] == ["global", "local"]


COMMAND = [sys.executable, "-c", "from unshift.cli.main import main; main()", "bank"]


@pytest.mark.slow
def test_killed_at_the_command_line_it_goes_on(tmp_path: Path) -> None:
    images = write(tmp_path / "images", range(900), side=200)
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([*COMMAND, str(images), "-o", str(tmp_path / "bank")], env=alone)
    parts = tmp_path / "bank.parts"
    while not parts.is_dir() or not list(parts.glob("0*.safetensors")):
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "bank").exists()
    again = [*COMMAND, str(images), "-o", str(tmp_path / "bank"), "--json"]
    done = subprocess.run(again, env=alone, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["images"] == 900
    build_bank(images, tmp_path / "undisturbed", NONE)
    assert (tmp_path / "bank").read_bytes() == (tmp_path / "undisturbed").read_bytes()
    assert len(Bank.load(tmp_path / "bank")) == 900
