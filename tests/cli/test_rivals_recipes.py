"""The rivals' rows: all seven in every recipe of RAM-DSIR that leaves domains out, and from training to a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from unshift.cli.main import build
from unshift.export.bundle import load_bundle
from unshift.recipe import Recipe, load_config, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes" / "ram_dsir"
RIVALS = ("fda", "fact", "mixstyle", "bigaug", "rand_conv", "slaug", "dual_norm")
ALONE = ("rivals_phantom", "prostate")
IMAGE_SPACE = ("fda", "bigaug", "rand_conv")
TINY = (
    "dataset.size=32",
    "dataset.cases=10",
    "dataset.domains=[A, B, C]",
    "protocol={sources: [A, C], targets: [B]}",
    "input.size=[32,32]",
    "network.widths=[4, 8]",
    "train.steps=2",
    "train.batch_size=4",
    "train.validate_every=2",
    "seeds=[0]",
)


def rivals(recipe: Recipe) -> dict[str, list[str]]:
    """Row -> the members that it is made of, less what all rows share."""
    found = {}
    for row in RIVALS:
        objective = recipe.pipelines[row].objective
        listed = [r if isinstance(r, str) else r["name"] for r in objective.settings.get("augmentations", [])]
        found[row] = [objective.name, *(name for name in listed if name != "zoom_crop")]
        load_config("objectives", objective, where=row)
    return found


@pytest.mark.parametrize(
    "name", ["rivals_phantom", "multisite_phantom", "polyp", "fundus_vessel", "fundus", "riga_plus", "prostate"]
)
def test_every_rival_has_its_row(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    expected = {row: ["augmented", row] if row in IMAGE_SPACE else [row] for row in RIVALS}
    assert rivals(recipe) == expected
    has_zoom = {row: "zoom_crop" in str(recipe.pipelines[row].objective.settings) for row in RIVALS if row != "bigaug"}
    assert set(has_zoom.values()) == {name not in ALONE}, "as RAM-DSIR's own row of the recipe"
    assert recipe.train.sampling == "balanced"
    warmup = recipe.pipelines["fact"].objective.settings["warmup"]
    assert warmup == recipe.train.steps // 10


@pytest.mark.slow
def test_every_rival_is_trained_scored_and_deployed(tmp_path: Path) -> None:
    tiny = [part for setting in TINY for part in ("--set", setting)]
    arguments = ["bench", str(RECIPES / "rivals_phantom.yaml"), "--runs", str(tmp_path), *tiny]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    for row in RIVALS:
        (folder,) = tmp_path.rglob(f"bundles/*/0/{row}")
        bundle = load_bundle(folder)
        with torch.no_grad():
            assert bundle.network(torch.rand(1, 1, 32, 32)).shape == (1, 2, 32, 32)
        assert type(bundle.network).__name__ == ("DualNorm" if row == "dual_norm" else "UNet")
