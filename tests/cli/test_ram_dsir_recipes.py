"""The recipes of RAM-DSIR: domains left out, the method, its ablations, and what every row shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.recipe import load_config, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes" / "ram_dsir"
NAMES = ("multisite_phantom", "polyp", "fundus_vessel", "fundus", "riga_plus", "prostate")
REGIONS = {"outputs": "regions"}
PAPER: dict[str, dict[str, Any]] = {"fundus": REGIONS, "riga_plus": REGIONS, "prostate": {"geometric": []}}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "erm": ("erm", {}),
    "augmented": ("augmented", {}),
    "ram_dsir": ("ram_dsir", {}),
    "ram_dsir_no_mixing": ("ram_dsir", {"mixing": [], "consistency_weight": 0}),
    "ram_dsir_no_consistency": ("ram_dsir", {"consistency_weight": 0}),
    "ram_dsir_no_restoration": ("ram_dsir", {"restoration_weight": 0}),
}
TINY = (
    "dataset.size=32",
    "dataset.cases=8",
    "input.size=[32,32]",
    "network.width=4",
    "train.steps=2",
    "train.batch_size=3",
    "train.validate_every=2",
    "protocol.leave_one_out=false",
    "protocol.targets=[camera4]",
    "pipelines={ram_dsir: {objective: ram_dsir}}",
    "baseline=ram_dsir",
)


def bench(*options: str) -> Any:
    arguments = ["bench", str(RECIPES / "multisite_phantom.yaml"), *options]
    return CliRunner().invoke(build(arguments), arguments)


@pytest.mark.parametrize("name", NAMES)
def test_the_method_its_ablations_and_the_baselines(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert recipe.protocol.leave_one_out == (name != "riga_plus"), "RIGA+ has two sources and three targets"
    assert recipe.train.sampling == "balanced" and recipe.baseline == "erm"
    assert ("erm_zoom" in recipe.pipelines) == (name != "prostate")
    for row, (objective, settings) in ROWS.items():
        pipeline = recipe.pipelines[row]
        paper = PAPER.get(name, {}) if objective == "ram_dsir" else {}
        assert (pipeline.objective.name, pipeline.objective.settings) == (objective, settings | paper)
        load_config("objectives", pipeline.objective, where=name)
    assert all(recipe.train_of(row).sampling == "balanced" for row in recipe.pipelines)


def test_every_camera_is_left_out_once(tmp_path: Path) -> None:
    result = bench("--runs", str(tmp_path), "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    names = [job["name"] for job in json.loads(result.stdout)["jobs"] if job["kind"] == "train"]
    for camera in ("camera1", "camera2", "camera3", "camera4"):
        assert sum(f"train ram_dsir · {camera} ·" in name for name in names) == 1


def test_from_the_recipe_to_scores(tmp_path: Path) -> None:
    tiny = [part for setting in TINY for part in ("--set", setting)]
    result = bench("--runs", str(tmp_path / "balanced"), *tiny)
    assert result.exit_code == 0, result.output
    assert list((tmp_path / "balanced").rglob("report.html"))
    alone = bench("--runs", str(tmp_path / "alone"), *tiny, "--set", "train.batch_size=1")
    assert alone.exit_code == 2 and "train.batch_size to at least their number" in " ".join(alone.output.split())


def test_a_network_that_cannot_be_restored_from_is_refused_before_the_first_training(tmp_path: Path) -> None:
    arguments = "{spatial_dims: 2, in_channels: 3, out_channels: 3, features: [4, 4, 8, 8, 16, 4]}"
    network = f"network={{name: own, builder: 'monai.networks.nets:BasicUNet', arguments: {arguments}}}"
    settings = [s for s in TINY if not s.startswith(("network", "pipelines", "baseline"))]
    settings += [network, "pipelines={erm: {objective: erm}, ram_dsir: {objective: ram_dsir}}", "baseline=erm"]
    refused = bench("--runs", str(tmp_path), *(part for setting in settings for part in ("--set", setting)))
    assert refused.exit_code == 2 and "encoder and decoder cannot be called apart" in " ".join(refused.output.split())
    assert not (tmp_path / "trainings").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.sampling=pooled", "Pipeline 'ram_dsir': objective ram_dsir needs 2 source domains in every batch"),
        ("protocol.sources=[camera1]", "trains on 1 domain(s) (camera1); ram_dsir needs at least 2"),
    ],
)
def test_what_cannot_be_mixed_is_refused_before_the_first_training(setting: str, said: str, tmp_path: Path) -> None:
    tiny = [part for setting in TINY for part in ("--set", setting)]
    refused = bench("--runs", str(tmp_path), *tiny, "--set", setting, "--dry-run")
    assert refused.exit_code == 2 and said in " ".join(refused.output.split())
