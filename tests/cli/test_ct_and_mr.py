"""From what people download to a report: hearts and abdomens in CT and MR, by the commands of the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from public_packages import write_abdomen, write_mmwhs, write_records
from unshift.cli.main import build
from unshift.datasets import mmwhs_records
from unshift.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes" / "glua"
TREES = {"cardiac": write_mmwhs, "abdominal": write_abdomen}
DOMAINS = {"cardiac": ("CT", "MR"), "abdominal": ("BTCV-CT", "CHAOS-MR")}
ORGANS = {
    "cardiac": {"myocardium", "left_atrium", "left_ventricle", "ascending_aorta"},
    "abdominal": {"liver", "right_kidney", "left_kidney", "spleen"},
}
FAST: dict[str, Any] = {
    "input.size": "[16, 16]",
    "network": "{name: unet, widths: [4, 8]}",
    "train.steps": 2,
    "train.validate_every": 2,
    "train.batch_size": 2,
    "train.precision": 32,
    "train.workers": 0,
    "evaluate.resamples": 100,
    "seeds": "[0]",
    "pipelines": json.dumps({"erm": {"objective": "erm"}}),
}


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in arguments]
    return CliRunner().invoke(build(texts), texts)


def bench(recipe: str, root: Path, runs: Path, *options: str, **settings: Any) -> dict[str, Any]:
    pairs = [part for key, value in {**FAST, **settings}.items() for part in ("--set", f"{key}={value}")]
    place = ("--data", root, "--runs", runs, "--accelerator", "cpu", "--json")
    result = call("bench", RECIPES / f"{recipe}.yaml", *place, *pairs, *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_recipes_go_both_ways_on_the_declared_tests_with_a_ceiling() -> None:
    cardiac, abdominal = (read_recipe(RECIPES / f"{name}.yaml") for name in TREES)
    for name, recipe in (("cardiac", cardiac), ("abdominal", abdominal)):
        assert recipe.dataset.name == name and recipe.baseline == "erm"
        assert {"erm", "augmented"} <= set(recipe.pipelines)
        protocol = recipe.protocol
        assert protocol.leave_one_out and protocol.declared_test and protocol.upper_bound
        assert recipe.evaluate.distances == "mm" and recipe.evaluate.metrics[:2] == ("dice", "assd")
    window, scale = abdominal.preprocessing
    assert (window.name, window.settings) == ("ct_window", {"level": 0, "width": 700, "ct_only": True})
    assert (scale.name, scale.settings) == ("min_max", {"low": 0, "high": 100})
    assert [(p.name, p.settings) for p in cardiac.preprocessing] == [("min_max", {"low": 0, "high": 98})]


@pytest.mark.parametrize("name", TREES)
def test_prepare_check_and_plan(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path / "download")
    said = call("data", "prepare", name, "--from", tmp_path / "download")
    assert said.exit_code == 0, said.output
    text = " ".join(said.output.split())
    for wanted in ("licence:", "citation:", "published", "lacks the test case(s)", "data check"):
        assert wanted in text
    root = tmp_path / "download-prepared"
    checked = json.loads(call("data", "check", root, "--json").stdout)
    assert checked["errors"] == 0 and tuple(checked["domains"]) == DOMAINS[name]
    jobs = bench(name, root, tmp_path / "runs", "--dry-run")["jobs"]
    trained, tested = ([job["name"] for job in jobs if job["kind"] == kind] for kind in ("train", "test"))
    assert len(trained) == 2, "the ceiling of one direction is the source of the other"
    assert len(tested) == 4 and all(any(domain in job for job in tested) for domain in DOMAINS[name])


def test_a_leak_exits_with_one_until_it_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmwhs_records, "SIDE", 16)
    write_records(tmp_path / "d")
    prepare = ("data", "prepare", "cardiac", "--from", tmp_path / "d", "--output", tmp_path / "p")
    refused = call(*prepare)
    text = " ".join(refused.output.split())
    assert refused.exit_code == 1 and "all 20 MR cases, the tested ones among them" in text and "--accept-leak" in text
    accepted = json.loads(call(*prepare, "--accept-leak", "--json").stdout)
    assert accepted["complete"] and accepted["converted"] == 0
    checked = json.loads(call("data", "check", tmp_path / "p", "--json").stdout)
    assert checked["errors"] == 0 and "leak" in {p["kind"] for p in checked["problems"]}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TREES)
def test_from_download_to_report(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path / "download")
    assert call("data", "prepare", name, "--from", tmp_path / "download", "-o", tmp_path / "p").exit_code == 0
    document = bench(name, tmp_path / "p", tmp_path / "runs")
    unseen = [row for row in document["summary"] if not row["seen"] and row["metric"] == "dice"]
    assert {row["region"] for row in unseen} == ORGANS[name]
    assert {row["domain"] for row in unseen} == set(DOMAINS[name])
    assert {row["unit"] for row in document["summary"] if row["metric"] == "assd"} == {"mm"}
    page = Path(document["report"]).read_text(encoding="utf-8")
    assert "owners declare for testing" in page and "TEST CASES" not in page
    voxels = bench(name, tmp_path / "p", tmp_path / "runs", name="voxels", **{"evaluate.distances": "voxels"})
    assert {row["unit"] for row in voxels["summary"] if row["metric"] == "assd"} == {"px"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_packed_slices_with_their_leak_named_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmwhs_records, "SIDE", 16)
    write_records(tmp_path / "d")
    call("data", "prepare", "cardiac", "--from", tmp_path / "d", "-o", tmp_path / "p", "--accept-leak")
    document = bench("cardiac", tmp_path / "p", tmp_path / "runs", preprocessing="[]")
    assert {row["unit"] for row in document["summary"] if row["metric"] == "assd"} == {"px"}
    assert "TEST CASES ARE ALSO TRAINED ON in MR" in Path(document["report"]).read_text(encoding="utf-8")
