"""From what people download to a report: both benchmarks of RAM-DSIR on tiny trees, by the commands of the page."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from public_packages import write_fundus, write_prostate, write_riga
from unshift.cli.main import build
from unshift.datasets.prostate import MEMBER as PROSTATE
from unshift.recipe import read_recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "ram_dsir"
PAGE = (ROOT / "docs" / "how-to" / "public-benchmarks.md").read_text(encoding="utf-8")
SIDE = 32
FAST: dict[str, Any] = {
    "input.size": f"[{SIDE}, {SIDE}]",
    "network": "{name: ram_unet, width: 4}",
    "train.steps": 2,
    "train.validate_every": 1,
    "train.precision": 32,
    "train.workers": 0,
    "evaluate.resamples": 100,
    "protocol.validation": 0.3,
    "seeds": "[0]",
}
TREES = {
    "fundus": lambda root: write_fundus(root, size=(40, 36)),
    "prostate": lambda root: write_prostate(root, side=SIDE),
}


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in arguments]
    return CliRunner().invoke(build(texts), texts)


@pytest.fixture
def side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROSTATE, "side", SIDE)


def prepared(name: str, tmp_path: Path) -> Path:
    TREES[name](tmp_path / "download")
    result = call("data", "prepare", name, "--from", tmp_path / "download", "--output", tmp_path / name)
    assert result.exit_code == 0, result.output
    return tmp_path / name


def bench(benchmark: str, root: Path, runs: Path, *options: str, **settings: Any) -> dict[str, Any]:
    pairs = [("--set", f"{key}={value}") for key, value in {**FAST, **settings}.items()]
    place = ("--data", root, "--runs", runs)
    arguments = ("bench", RECIPES / f"{benchmark}.yaml", *place, "--accelerator", "cpu", "--json")
    result = call(*arguments, *(part for pair in pairs for part in pair), *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", TREES)
def test_prepare_says_what_was_found_and_the_rest_of_the_line_accepts_it(name: str, tmp_path: Path, side) -> None:
    TREES[name](tmp_path / "download")
    said = call("data", "prepare", name, "--from", tmp_path / "download")
    assert said.exit_code == 0, said.output
    text = " ".join(said.output.split())
    for wanted in (
        "licence:",
        "citation:",
        "published",
        "found",
        "are published, so scores compare with no published table",
    ):
        assert wanted in text
    root = tmp_path / "download-prepared"
    assert f"unshift data check {root}" in text
    checked = json.loads(call("data", "check", root, "--json").stdout)
    assert checked["errors"] == 0 and len(checked["domains"]) == {"fundus": 4, "prostate": 6}[name]
    folds = bench(name, root, tmp_path / "runs", "--dry-run")["jobs"]
    rows = read_recipe(RECIPES / f"{name}.yaml").pipelines
    assert len([job for job in folds if job["kind"] == "test"]) == len(checked["domains"]) * len(rows)
    again = json.loads(call("data", "prepare", name, "--from", tmp_path / "download", "--json").stdout)
    assert again["complete"] and again["converted"] == 0 and all(c["prepared"] == c["found"] for c in again["counts"])


def test_riga_plus_is_counted_by_its_tables_and_runs_with_two_sources_or_one(tmp_path: Path) -> None:
    download, root = write_riga(tmp_path / "download", cases=4), tmp_path / "riga"
    said = call("data", "prepare", "riga_plus", "--from", download, "--output", root)
    assert said.exit_code == 0, said.output
    (head,) = (line for line in said.output.splitlines() if line.startswith("domain"))
    assert head.split() == ["domain", "split", "listed", "found", "prepared"]
    jobs = bench("riga_plus", root, tmp_path / "runs", "--dry-run")["jobs"]
    assert sum(job["kind"] == "test" for job in jobs) == len(read_recipe(RECIPES / "riga_plus.yaml").pipelines) == 14
    assert all("MESSIDOR_Base1+MESSIDOR_Base2+MESSIDOR_Base3" in job["name"] for job in jobs if job["kind"] == "test")

    (example,) = re.findall(r"^unshift (bench recipes/ram_dsir/riga_plus\.yaml [^`]*one-source[^`]*)```", PAGE, re.M)
    example = example.replace("path/to/riga_plus", str(root)).replace("recipes/ram_dsir", str(RECIPES))
    example = example.replace("\\\n", " ")
    words = [*shlex.split(example), "--runs", tmp_path / "runs", "--dry-run", "--json"]
    alone = call(*words, "--set", "protocol.validation=0.3")
    assert alone.exit_code == 0, alone.output
    rows = {job["name"].split(" · ")[0] for job in json.loads(alone.stdout)["jobs"] if job["kind"] == "train"}
    assert rows == {f"train {row}" for row in ("erm", "slaug", "dual_norm", "bigaug", "rand_conv")}
    words = [word for word in words if not str(word).startswith("pipelines=")]
    del words[len(words) - 1 - words[::-1].index("--set")]
    both = call(*words)
    assert both.exit_code == 2 and "needs at least 2" in " ".join(both.output.split())


def test_what_is_missing_exits_with_one_and_what_is_wrong_with_two(tmp_path: Path) -> None:
    download = write_riga(tmp_path / "download")
    next((download / "RIGA-mask").rglob("*-1.tif")).unlink()
    missing = call("data", "prepare", "riga_plus", "--from", download, "--output", tmp_path / "r")
    assert missing.exit_code == 1
    assert "no such file; " in missing.output and "Not complete, so it cannot be opened yet" in missing.output
    document = json.loads(
        call("data", "prepare", "riga_plus", "--from", download, "-o", tmp_path / "r", "--json").stdout
    )
    assert not document["complete"] and {p["severity"] for p in document["problems"]} == {"error"}
    unknown = call("data", "prepare", "fundos", "--from", download)
    assert unknown.exit_code == 2 and "Did you mean 'fundus'?" in unknown.output
    nowhere = call("data", "prepare", "fundus", "--from", tmp_path / "gone")
    assert nowhere.exit_code == 2 and "DomainN/train/ROIs/image" in nowhere.output


def test_riga_plus_is_trained_as_fundus() -> None:
    fundus, riga = (read_recipe(RECIPES / f"{name}.yaml") for name in ("fundus", "riga_plus"))
    own = {"name", "description", "dataset", "protocol", "cite"}
    assert fundus.model_dump(exclude=own) == riga.model_dump(exclude=own)
    assert riga.protocol.sources == ("BinRushed", "Magrabia") and riga.protocol.declared_test


def test_the_recipes_hold_the_papers_settings() -> None:
    fundus, prostate = (read_recipe(RECIPES / f"{name}.yaml") for name in TREES)
    for recipe, size, batch, rate in ((fundus, 256, 16, 2e-3), (prostate, 384, 10, 1e-3)):
        assert recipe.input.size == (size, size) and recipe.network.name == "ram_unet"
        assert (recipe.train.batch_size, recipe.train.learning_rate) == (batch, rate)
        assert (recipe.train.optimizer, recipe.train.schedule, recipe.train.sampling) == ("adam", "poly", "balanced")
        assert recipe.protocol.leave_one_out and recipe.baseline == "erm" and "augmented" in recipe.pipelines
    assert fundus.protocol.declared_test and fundus.train.steps == (21200 + 18000 + 12800 + 12800) // 4
    assert prostate.input.neighbours == 1 and prostate.train.foreground == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TREES)
def test_from_download_to_report(name: str, tmp_path: Path, side) -> None:
    root = prepared(name, tmp_path)
    outputs = {"outputs": "regions"} if name == "fundus" else {}
    rows = {
        "erm": {"objective": "erm"},
        "ram_dsir": {"objective": {"name": "ram_dsir", **outputs}},
        "slaug": {"objective": {"name": "slaug", "augmentations": ["zoom_crop"]}},
    }
    some = {"fundus": "[Drishti-GS, RIM-ONE-r3, REFUGE-train]", "prostate": "[BMC, UCL, HK]"}[name]
    batch = {"train.batch_size": 4, "pipelines": json.dumps(rows), "protocol.sources": some}
    document = bench(name, root, tmp_path / "runs", **batch)
    report = Path(document["report"]).read_text(encoding="utf-8")
    unseen = [row for row in document["summary"] if not row["seen"] and row["metric"] == "dice"]
    regions = {"fundus": {"disc", "cup"}, "prostate": {"prostate"}}[name]
    assert {row["region"] for row in unseen} == regions and {row["pipeline"] for row in unseen} == set(rows)
    assert len({row["domain"] for row in unseen}) == 3
    units = {row["unit"] for row in document["summary"] if row["metric"] == "assd"}
    assert units == {{"fundus": "px", "prostate": "mm"}[name]}
    if name == "fundus":
        assert "owners declare for testing" in report
    assert "REPLAY" not in report
    trainings = sorted((tmp_path / "runs" / "trainings").iterdir())
    switches = {
        "fundus": {"predict.batch_norm": "batch", "predict.threshold": 0.75},
        "prostate": {
            "predict.batch_norm": "batch",
            "evaluate.slices": "with_reference",
            "evaluate.distances": "voxels",
        },
    }[name]
    replayed = bench(name, root, tmp_path / "runs", **batch, **switches, name=f"replay-{name}")
    assert sorted((tmp_path / "runs" / "trainings").iterdir()) == trainings, "trainings are shared with the replay"
    assert {row["unit"] for row in replayed["summary"] if row["metric"] == "assd"} == {"px"}
    page = Path(replayed["report"]).read_text(encoding="utf-8")
    assert page.count("REPLAY") > 3 and "Batch norm used the statistics of test images, 8 at a time" in page


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_switch_of_the_replay_on_volumes(tmp_path: Path, side) -> None:
    root, rows = prepared("prostate", tmp_path), {"ram_dsir": {"objective": "ram_dsir"}}
    some = {"protocol.sources": "[UCL, HK]", "protocol.leave_one_out": "false", "protocol.targets": "[BMC]"}
    settings = {"train.batch_size": 4, "pipelines": json.dumps(rows), "baseline": "ram_dsir", **some}
    document = bench("prostate", root, tmp_path / "runs", "--replay", "ram_dsir_2022", **settings)
    assert set(document["reports"]) == {"honest", "batch_norm", "slices", "distances", "checkpoint", "all"}
    by = {(row["switch"], row["metric"]): row for row in document["switches"]}
    assert {by["distances", metric]["unit"] for metric in ("assd", "asd", "hd95")} == {"px"}
    assert by["distances", "dice"]["difference"] == 0 and by["distances", "asd"]["difference"] is None
    assert by["slices", "dice"]["difference"] >= 0
