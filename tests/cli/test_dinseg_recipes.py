"""The recipes of DINSeg: their grid is the paper's, they plan on any dataset, and they share trainings that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
TABLE_2 = {
    "baseline": (),
    "histogram_equalization": ("histogram_equalization",),
    "style_segor": ("style_segor",),
    "wct_ain": ("wct_ain",),
    "adain_single": ("adain", "single"),
    "adain_multi": ("adain", "multi"),
    "din_single": ("din", "single"),
    "din_multi": ("din", "multi"),
}
SLOW = ("style_segor", "wct_ain")  # on full-size photographs they take hours on a CPU
SAME = ("din_single",)  # as adain_single, of which the theory says so and the other pages show it
SHARED = (
    "dataset",
    "protocol",
    "preprocessing",
    "input",
    "network",
    "train",
    "predict",
    "evaluate",
    "selection",
    "seeds",
)


def plan(name: str, tmp_path: Path, *options: str | Path) -> dict[str, Any]:
    arguments = ["bench", str(RECIPES / "dinseg" / f"{name}.yaml"), "--runs", str(tmp_path), "--dry-run", "--json"]
    arguments += map(str, options)
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def repairs(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, pipeline in recipe.pipelines.items():
        units = [(r.name, r.settings["levels"]) for r in pipeline.plugins]
        found[name] = tuple(r.name for r in pipeline.normalizations) + tuple(part for unit in units for part in unit)
    return found


def trained(document: dict[str, Any]) -> int:
    return sum(job["kind"] == "train" for job in document["jobs"])


@pytest.mark.parametrize("name", ["table1", "table2", "phantom", "phantom_table2"])
def test_generated_data_needs_nothing_and_one_training(tmp_path: Path, name: str) -> None:
    document = plan(name, tmp_path)
    assert trained(document) == 1
    assert sum(job["kind"] == "test" for job in document["jobs"]) == len(document["recipe"]["pipelines"])


def test_the_tables_are_the_papers() -> None:
    one, two = (read_recipe(RECIPES / "dinseg" / f"table{n}.yaml") for n in (1, 2))
    assert repairs(two) == TABLE_2
    assert repairs(one) == {name: TABLE_2[name] for name in ("baseline", "din_single", "din_multi")}
    assert set(two.evaluate.metrics) == {"dice", "jaccard", "hd", "asd", "precision", "recall"}
    assert one.network.name == "unet" and one.network.settings == {} and one.input.size == (400, 400)
    for field in SHARED:
        if field != "evaluate":
            assert getattr(one, field) == getattr(two, field), field


@pytest.mark.parametrize("name", ["phantom_table2", "fetal_head_table2"])
def test_quick_versions_have_every_row_of_table_2(name: str) -> None:
    found = repairs(read_recipe(RECIPES / "dinseg" / f"{name}.yaml"))
    assert found.items() >= TABLE_2.items()
    assert "histogram_matching" in found


@pytest.mark.parametrize("name", ["phantom", "fetal_head"])
def test_ours_stand_beside_the_papers(name: str) -> None:
    found = repairs(read_recipe(RECIPES / "dinseg" / f"{name}.yaml"))
    assert found.items() >= {k: v for k, v in TABLE_2.items() if k not in SLOW}.items()
    assert {"histogram_matching", "din_task_multi", "din_task_gated"} <= found.keys()


@pytest.mark.parametrize("name", ["breast_us", "polyp", "fundus_vessel"])
def test_real_recipes_share_the_quick_ones_trainings(name: str) -> None:
    recipe, quick = read_recipe(RECIPES / "dinseg" / f"{name}.yaml"), read_recipe(RECIPES / name / "quick.yaml")
    for field in SHARED:
        assert getattr(recipe, field) == getattr(quick, field), field
    assert repairs(recipe).items() >= {k: v for k, v in TABLE_2.items() if k not in (*SLOW, *SAME)}.items()
    assert {p.objective.name for p in recipe.pipelines.values()} == {"erm"}


def test_a_table_on_a_folder_of_ones_own(tmp_path: Path) -> None:
    for domain in ("mine", "theirs"):
        for part in ("images", "masks"):
            (tmp_path / "data" / domain / part).mkdir(parents=True)
        for i in range(12):
            mask = np.zeros((48, 48), np.uint8)
            mask[10:30, 5 : 20 + i] = 255
            Image.fromarray(mask // 2 + 9).save(tmp_path / "data" / domain / "images" / f"{i}.png")
            Image.fromarray(mask).save(tmp_path / "data" / domain / "masks" / f"{i}.png")
    options = ["--set", "dataset=folder", "--set", "protocol.sources=[mine]", "--set", "protocol.targets=[theirs]"]
    document = plan("table2", tmp_path / "runs", "--data", tmp_path / "data", *options)
    assert document["recipe"]["dataset"]["name"] == "folder"
    assert trained(document) == 1


@pytest.mark.real
@pytest.mark.parametrize("name", ["breast_us", "polyp", "fundus_vessel", "fetal_head"])
def test_plans_on_real_images(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = real_data / ("fetal_head_us" if name == "fetal_head" else name)
    document = plan(name, tmp_path, "--data", folder)
    assert trained(document) == (3 if name == "fundus_vessel" else 1)
