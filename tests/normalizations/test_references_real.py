"""Colors and references on real endoscopy: properties that made-up pictures may miss, and banks through the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.datasets.opening import open_dataset
from unshift.errors import DataError
from unshift.normalizations.bank import Bank
from unshift.normalizations.color_methods import METHODS
from unshift.normalizations.dcin import Dcin
from unshift.normalizations.references import as_batch
from unshift.sample import Sample

pytestmark = pytest.mark.real
HOSPITAL = "PolypGen-C6"


@pytest.fixture(scope="module")
def samples(real_data: Path) -> list[Sample]:
    dataset = open_dataset("polyp", real_data / "polyp")
    return [dataset.read_image(case) for case in dataset.cases(HOSPITAL)[::8]]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "lab_8bit"])
def test_onto_itself_no_pixel_moves_by_a_grey_level(samples: list[Sample], name: str) -> None:
    method = METHODS[name]
    for sample in samples[:3]:
        images, inside = as_batch(sample)
        moved = method.transfer(images, method.statistics(images, inside), inside)
        assert (moved - images).abs().max() < 1 / 255


def test_a_bank_in_two_calls_is_the_bank_of_one_and_its_global_reference_scipys(
    real_data: Path, samples: list[Sample], tmp_path: Path
) -> None:
    files = sorted((real_data / "polyp" / HOSPITAL / "images").iterdir())[:24]
    for folder, some in (("first", files[:9]), ("all", files)):
        (tmp_path / folder / "images").mkdir(parents=True)
        for file in some:
            shutil.copy(file, tmp_path / folder / "images")
    Image.new("RGB", (40, 40)).save(tmp_path / "all" / "images" / "lens_cap.png")
    (tmp_path / "all" / "images" / "broken.png").write_bytes(files[0].read_bytes()[:200])
    for folder, output, code in (("first", "two", 0), ("all", "two", 1), ("all", "one", 1)):
        arguments = ["bank", str(tmp_path / folder / "images"), "-o", str(tmp_path / output)]
        result = CliRunner().invoke(build(arguments), arguments)
        assert result.exit_code == code, result.output
        assert ("broken.png" in result.output) == bool(code)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    bank = Bank.load(tmp_path / "one")
    assert len(bank) == 25 and sum(map(bool, bank.flaws)) == 1
    vectors = torch.nn.functional.normalize(bank.histograms.double(), dim=1).numpy()
    means = np.where(bank.allowed.numpy(), cdist(vectors, vectors).mean(1), np.inf)
    fitted = Dcin(Dcin.Config(references=("global",), bank=tmp_path / "one")).fit([])
    [view] = fitted.views(samples[0])
    assert view.reference is not None and view.reference.name == bank.names[int(means.argmin())]


def test_a_retina_is_warned_of_and_a_lens_cap_refused(real_data: Path, samples: list[Sample], tmp_path: Path) -> None:
    retina = next((real_data / "fundus_vessel" / "HRF" / "images").iterdir())
    [view] = Dcin(Dcin.Config(references=(str(retina),))).fit(samples).views(samples[0])
    assert view.reference is not None and "its colors resemble no source image" in view.reference.warning
    Image.new("RGB", (40, 40), (3, 2, 2)).save(tmp_path / "lens_cap.png")
    with pytest.raises(DataError, match=r"lens_cap\.png is constant and nearly black"):
        Dcin(Dcin.Config(references=(str(tmp_path / "lens_cap.png"),))).fit(samples)
