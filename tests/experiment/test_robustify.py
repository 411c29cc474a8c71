"""From a trained network and its source images to one bundle: with and without labels, and what must not change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from robust_models import disc_bundle, picture, write_discs
from unshift.errors import ConfigError, DataError
from unshift.evaluate.choice import IN_DOMAIN, NONE
from unshift.experiment.repair_plan import RobustifyConfig, prepare, views
from unshift.experiment.robustify import Robustness, execute, fit_all, robustify
from unshift.experiment.source import Source, open_source
from unshift.export.bundle import Bundle, load_bundle
from unshift.geometry import InputConfig
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Sample, Task

QUICK = RobustifyConfig(plugins=("adain",), strengths=(1.0,), normalizations=("histogram_equalization",))
SMALL = QUICK.model_copy(update={"levels": ("single",), "gates": ("none",), "normalizations": ()})


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def state(bundle: Bundle) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in bundle.network.state_dict().items()}


def source(folder: Path, count: int = 24, *, masks: bool = True, most: int = 6) -> Source:
    return open_source(write_discs(folder, count, masks=masks), disc_bundle().task, most=most)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Source]:
    return disc_bundle(), source(tmp_path_factory.mktemp("given") / "discs")


@pytest.fixture(scope="module")
def result(given: tuple[Bundle, Source], tmp_path_factory: pytest.TempPathFactory) -> Robustness:
    return robustify(*given, tmp_path_factory.mktemp("out"), config=QUICK)


def test_every_candidate_is_scored_at_every_place_on_every_held_out_case(result: Robustness) -> None:
    names = [c.name for c in result.plan.candidates]
    assert names == [
        NONE,
        "adain-single",
        "adain-single-gated",
        "adain-multi",
        "adain-multi-gated",
        "histogram_equalization",
    ]
    counts = result.scores.groupby(["pipeline", "domain"])["case"].nunique()
    assert len(counts) == len(names) * 4
    assert set(counts) == {6}
    fitted, held_out = ({c.name for c in part} for part in (result.plan.source.fit, result.plan.source.held_out))
    assert set(result.scores["case"]) == held_out
    assert not fitted & held_out


def test_scores_are_dice_with_the_masks_redone_by_hand(result: Robustness) -> None:
    case = result.plan.source.held_out[0]
    predictor = disc_bundle().predictor()
    for place, sample in views(result.plan, result.plan.source.dataset.read_image(case)):
        said = predictor.predict(sample).label_map > 0
        true = picture(int(case.name[1:]))[1] > 0
        dice = 2 * int((said & true).sum()) / int(said.sum() + true.sum())
        rows = result.scores.query("pipeline == 'none' and case == @case.name and domain == @place")
        assert rows["value"].item() == pytest.approx(dice)
        assert rows["seen"].item() == (place == IN_DOMAIN)


def test_the_shift_hurts_and_a_repair_helps(result: Robustness) -> None:
    before = result.choice.before
    assert before.in_domain.mean > 0.9
    assert before.shifted.mean < before.in_domain.mean - 0.05
    assert result.choice.name != NONE
    assert result.choice.standing.gain.low > 0
    assert result.choice.standing.change.mean >= -0.005


def test_what_is_saved_predicts_as_in_memory_and_says_its_figures(result: Robustness) -> None:
    assert all(check.holds for check in result.checks)
    assert len(result.checks) == 2 + 4
    bundle = load_bundle(result.bundle)
    figures = bundle.card.figures
    assert figures["repair"] == result.choice.name
    assert figures["Dice over simulated shifts, after"] == round(100 * result.choice.standing.shifted.mean, 2)
    sample = Sample(picture(99)[0], "c", "c", "")
    winner = next(f for f in result.fitted if f.name == result.choice.name)
    assert torch.equal(
        bundle.predictor().predict(sample).label_map, winner.bundle.predictor().predict(sample).label_map
    )


def test_the_record_is_whole(result: Robustness) -> None:
    record = json.loads((result.folder / "robustness.json").read_text(encoding="utf-8"))
    assert record["choice"] == result.choice.name
    assert [c["name"] for c in record["candidates"]] == [c.name for c in result.plan.candidates]
    assert record["held_out"] == 6
    assert [tap["name"] for tap in record["taps"]] == ["level_1", "level_2"]
    assert {row["place"] for row in record["distances"]} == {IN_DOMAIN, "B@1", "C@1", "D@1"}
    assert all(row["after"] < row["before"] for row in record["distances"] if row["place"] != IN_DOMAIN)


def test_neither_the_network_nor_files_are_changed(tmp_path: Path) -> None:
    bundle, found = disc_bundle(), source(tmp_path / "discs", most=2)
    bundle.network.train()
    before, files, layout = state(bundle), hashes(tmp_path), [p.stride() for p in bundle.network.parameters()]
    config = QUICK.model_copy(
        update={"plugins": ("adain", "din"), "steps": 2, "levels": ("single",), "choose": "din-single"}
    )
    robustify(bundle, found, tmp_path / "out", config=config)
    assert state(bundle) == before
    assert {name: digest for name, digest in hashes(tmp_path).items() if "/out/" not in name} == files
    assert [p.stride() for p in bundle.network.parameters()] == layout
    assert bundle.network.training
    assert not any(p.grad is not None for p in bundle.network.parameters())
    assert all(p.requires_grad for p in bundle.network.parameters())


def test_without_labels_agreement_with_the_networks_own_word(tmp_path: Path) -> None:
    found = source(tmp_path / "discs", 14, masks=False, most=3)
    result = robustify(disc_bundle(), found, tmp_path / "out", config=SMALL)
    own = result.scores.query("pipeline == 'none' and domain == 'in-domain'")["value"]
    assert np.allclose(own, 1)
    sample = found.dataset.read_image(found.held_out[0])
    reference = disc_bundle().predictor().predict(sample).label_map > 0
    shifted = dict(views(result.plan, sample))["D@1"]
    said = disc_bundle().predictor().predict(shifted).label_map > 0
    dice = 2 * int((said & reference).sum()) / int(said.sum() + reference.sum())
    row = result.scores.query("pipeline == 'none' and domain == 'D@1' and case == @sample.case")
    assert row["value"].item() == pytest.approx(dice)
    record = json.loads((result.folder / "robustness.json").read_text(encoding="utf-8"))
    assert "no labels" in record["scoring"]
    assert "agreement in-domain, before" in load_bundle(result.bundle).card.figures


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(given: tuple[Bundle, Source], result: Robustness, tmp_path: Path) -> None:
    again = robustify(*given, tmp_path, config=QUICK)
    assert again.scores.equals(result.scores)
    for name in ("bundle.yaml", "network.safetensors"):
        assert (again.bundle / name).read_bytes() == (result.bundle / name).read_bytes()


def test_by_hand_and_a_tolerance_that_nothing_meets(given: tuple[Bundle, Source], tmp_path: Path) -> None:
    one = SMALL.model_copy(update={"choose": NONE})
    forced = robustify(*given, tmp_path, config=one)
    assert (forced.choice.name, forced.choice.is_forced) == (NONE, True)
    assert load_bundle(forced.bundle).plugins == ()
    assert forced.measured == "adain-single"


def test_what_lies_at_the_output_is_not_overwritten(given: tuple[Bundle, Source], tmp_path: Path) -> None:
    plan = prepare(*given, QUICK.model_copy(update={"plugins": (), "normalizations": ()}))
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(ConfigError, match="not overwritten"):
        execute(plan, tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        execute(plan, tmp_path / "bundle" / "thesis.txt")


def test_fitting_draws_nothing_from_the_global_generator(given: tuple[Bundle, Source]) -> None:
    config = QUICK.model_copy(
        update={"plugins": ("adain", "din"), "steps": 1, "levels": ("single",), "content_count": 2}
    )
    before = torch.random.get_rng_state()
    fitted = fit_all(prepare(*given, config))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [f.name for f in fitted][:2] == [NONE, "adain-single"]


def test_a_network_without_foreground_says_so(tmp_path: Path) -> None:
    bundle = disc_bundle()
    blind = UNet(UNetConfig(widths=(4, 8)), bundle.task)
    with torch.no_grad():
        blind.head.bias.copy_(torch.tensor([1e3, -1e3]))
    found = source(tmp_path / "discs", 8, masks=False)
    with pytest.raises(DataError, match="empty everywhere"):
        robustify(replace(bundle, network=blind.eval()), found, tmp_path / "out", config=SMALL)


def test_volumes_in_their_own_units(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    random = np.random.default_rng(0)
    for index in range(12):
        volume = 400 * random.random((16, 16, 6)).astype(np.float32) - 100  # x, y, z on disk
        volume[4:12, 4 + index % 3 : 12] += 300
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 3, 1])), tmp_path / "scans" / f"v{index}.nii.gz")
    torch.manual_seed(0)
    task = Task(1, ("background", "bright"), spatial_dims=3)
    network = UNet(UNetConfig(widths=(4, 8)), task)
    network.standardize(torch.tensor([250.0]), torch.tensor([200.0]))
    for step in range(20):
        network(200 * torch.rand(2, 1, 6, 16, 16, generator=torch.Generator().manual_seed(step)) + 100)
    bundle = Bundle(network.eval(), task, InputConfig(mode="window", size=(4, 16, 16)))
    config = QUICK.model_copy(update={"normalizations": (), "levels": ("single",), "choose": "adain-single"})
    found = open_source(tmp_path / "scans", task, most=2)
    result = robustify(bundle, found, tmp_path / "out", config=config)
    assert all(check.holds for check in result.checks)
    assert "MR or CT" in json.loads((result.folder / "robustness.json").read_text(encoding="utf-8"))["shifts"]
    sample = found.dataset.read_image(found.held_out[0])
    shifted = dict(views(result.plan, sample))["B@1"].image
    assert shifted.shape == sample.image.shape
    assert sample.image.min() <= shifted.min() < shifted.max() <= sample.image.max()
    assert load_bundle(result.bundle).predictor().predict(sample).label_map.shape == (6, 16, 16)
