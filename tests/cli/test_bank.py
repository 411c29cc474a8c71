"""The verb `bank`: what it prints, and what it does with images that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.export.bundle import Bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.normalizations.bank import Bank
from untrained import untrained_network


def run(*arguments: str | Path) -> tuple[int, str]:
    words = ["bank", *map(str, arguments)]
    done = CliRunner().invoke(build(words), words)
    return done.exit_code, done.output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(40, 220, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_without_a_bundle_it_holds_statistics_and_the_medoid(images: Path, tmp_path: Path) -> None:
    code, said = run(images, "-o", tmp_path / "bank", "--method", "lab", "--method", "reinhard")
    assert code == 0 and "global reference: photos/" in said and "4 image(s) added, 0 there already" in said
    assert set(Bank.load(tmp_path / "bank").statistics) == {"lab", "reinhard"}


def test_with_a_bundle_it_embeds_and_what_fails_is_counted(images: Path, tmp_path: Path) -> None:
    network = untrained_network(3)
    save_bundle(tmp_path / "model", Bundle(network, network.task, InputConfig(size=(32, 32))))
    (images / "1.png").write_bytes(b"no picture")
    code, said = run(images, "-o", tmp_path / "bank", "--bundle", tmp_path / "model", "--json")
    found = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert code == 1 and (found["images"], found["added"], len(found["failed"])) == (3, 3, 1)
    assert found["failed"][0]["image"].endswith("1.png") and found["numbers in an embedding"] == 16
    assert "not done" in said


def test_wrong_options_say_what_to_do(images: Path, tmp_path: Path) -> None:
    for options, words in (
        (("--embedding", "segmenter"), "Give a bundle (--bundle)"),
        (("--embedding", "swin"), "unknown embedding 'swin'"),
        (("--embedding", "lite2:small"), "only timm takes a model"),
        (("--weights", "x.pth"), "only timm:MODEL takes a file"),
        (("--method", "labb"), "Did you mean"),
    ):
        code, said = run(images, "-o", tmp_path / "bank", *options)
        assert code == 2 and words in " ".join(said.split()), said
