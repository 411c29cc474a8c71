"""GLUA's recipes on the phantom and on nuclei: both directions, every rival and ablation, one protocol for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.discover import load
from unshift.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes" / "glua"
ROWS = {
    "erm": "erm",
    "adabn": "adabn",
    "fda_adapt": "fda_adapt",
    "advent": "advent",
    "adapt_seg_net": "adapt_seg_net",
    "self_training": "self_training",
    "translation": "style_translation",
    "global_only": "style_translation",
    "global_statistics": "style_translation",
    "glua_plain": "glua",
    "glua_literal": "glua",
    "glua": "glua",
}
TINY: dict[str, Any] = {
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
}


def invoke(name: str, runs: Path, *options: str | Path) -> dict[str, Any]:
    arguments = ["bench", str(RECIPES / f"{name}.yaml"), "--runs", str(runs), "--json", *map(str, options)]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def nuclei(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for domain in ("fluo-256", "HE-320x256", "brightfield-1024", "fluo-360"):
        for part in ("images", "masks"):
            (root / domain / part).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)).save(
                root / domain / "images" / f"{i}.png"
            )
            Image.fromarray(255 * np.eye(160, dtype=np.uint8)).save(root / domain / "masks" / f"{i}.png")
    return root


@pytest.mark.parametrize("name", ["phantom", "nuclei", "cardiac", "abdominal"])
def test_rows_are_the_rivals_and_the_ablations(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    rows = {key: row.objective.name for key, row in recipe.pipelines.items() if key not in ("glua_local", "augmented")}
    assert rows == ROWS and recipe.baseline == "erm" and recipe.selection == "last"
    kinds = {load("objectives", row).setting.kind for key, row in rows.items() if key != "erm"}
    assert kinds == {"adaptation"}
    assert recipe.protocol.leave_one_out and recipe.protocol.upper_bound and recipe.protocol.adapt == "held_out"
    masks = [recipe.pipelines[row].objective.settings["mask"] for row in ("glua_plain", "glua_literal", "glua")]
    assert masks == ["none", "literal", "symmetric"]
    first = {json.dumps(recipe.pipelines[row].objective.settings.get("translation")) for row in ("glua_plain", "glua")}
    assert len(first) == 1 and all(row.network is None for row in recipe.pipelines.values())
    assert {key for key, row in recipe.pipelines.items() if row.train} == {"translation"}
    second = {key for key, row in recipe.pipelines.items() if row.after == "translation"}
    assert second == {"global_only", "global_statistics", "glua_plain", "glua_literal", "glua"}
    assert recipe.train_of("translation").steps >= recipe.train.steps
    ramps = {recipe.pipelines[row].objective.settings["ramp"] for row in ("glua_plain", "glua_literal", "glua")}
    assert ramps == {recipe.train.steps // 10}  # the first tenth, as the design proposes
    statistics = {row: recipe.pipelines[row].objective.settings.get("statistics") for row in second}
    assert [row for row, value in statistics.items() if value] == ["global_statistics"]


def test_the_phantom_goes_both_ways(tmp_path: Path) -> None:
    jobs = invoke("phantom", tmp_path, "--dry-run")["jobs"]
    trained = [job["name"] for job in jobs if job["kind"] == "train"]
    assert len(trained) == 2 * 13  # the ceiling of one direction is the source-only training of the other
    tested = {job["name"]: job["total"] for job in jobs if job["kind"] == "test"}
    # 60 of the target's 120 cases, and 36 of the source's
    assert {tested[f"test {row} · ct · seed 0"] for row in ROWS} == {60 + 36}


def test_nuclei_plan_both_ways_and_to_brightfield(tmp_path: Path) -> None:
    root = nuclei(tmp_path / "set")
    for options in ((), ("--set", "name=b", "--set", "protocol.sources=[fluo-256, brightfield-1024]")):
        jobs = invoke("nuclei", tmp_path / "runs", "--data", root, "--dry-run", *options)["jobs"]
        assert sum(job["kind"] == "train" for job in jobs) == 2 * 12


@pytest.mark.slow
def test_the_phantoms_rows_run_to_a_report(tmp_path: Path) -> None:
    recipe = read_recipe(RECIPES / "phantom.yaml")
    pipelines = {}
    for name, row in recipe.pipelines.items():
        settings = dict(row.objective.settings)
        if row.objective.name == "style_translation":
            settings = TINY
        elif settings.get("translation"):
            settings["translation"] = {"name": "style_translation", **TINY}
        pipelines[name] = {"objective": {"name": row.objective.name, **settings}, "after": row.after}
    changes = {
        "pipelines": json.dumps(pipelines),
        "dataset.cases": 8,
        "input.size": "[32, 32]",
        "network.widths": "[4, 8]",
        "train.steps": 1,
        "train.validate_every": 1,
        "train.batch_size": 2,
        "train.precision": 32,
        "evaluate.resamples": 100,
    }
    pairs = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    document = invoke("phantom", tmp_path, "--accelerator", "cpu", *pairs)
    assert Path(document["report"]).is_file()
