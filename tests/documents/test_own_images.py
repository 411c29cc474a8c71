"""The recipes on the page about one's own images run as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from unshift.cli.main import build

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "own-images.md").read_text(encoding="utf-8")
FOUND = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL))
RECIPES: dict[str, dict[str, Any]] = {found["name"]: found for found in FOUND if "name" in found}
SITES = ("site_a", "site_b", "site_c")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for site in SITES:
        for part in ("images", "masks"):
            (tmp_path / "set" / site / part).mkdir(parents=True)
        for number in range(6):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 4 : 16 + number] = 255
            image = (rng.integers(0, 90, (32, 32, 3)) + mask[..., None] // 2).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "set" / site / "images" / f"{number}.png")
            Image.fromarray(mask).save(tmp_path / "set" / site / "masks" / f"{number}.png")
    return tmp_path / "set"


def bench(name: str, images: Path, *options: str, **settings: Any) -> Result:
    recipe = images.parent / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(RECIPES[name]), encoding="utf-8")
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    place = ("--data", str(images), "--runs", str(images.parent / "runs"), "--accelerator", "cpu", "--json")
    arguments = ["bench", str(recipe), *place, *pairs, *options]
    return CliRunner().invoke(build(arguments), arguments)


@pytest.mark.parametrize(("name", "trainings"), [("mine", 2), ("hospitals", 9)])
def test_the_plans(name: str, trainings: int, images: Path) -> None:
    said = bench(name, images, "--dry-run")
    assert said.exit_code == 0, said.output
    assert sum(job["kind"] == "train" for job in json.loads(said.stdout)["jobs"]) == trainings


@pytest.mark.slow
def test_each_hospital_is_left_out_once(images: Path) -> None:
    recipe = RECIPES["hospitals"]
    assert (
        len(recipe) == 7 and recipe["train"]["sampling"] == "balanced" and recipe["protocol"] == {"leave_one_out": True}
    )
    tiny = {"input.size": "[32, 32]", "network": "{name: ram_unet, width: 4}", "evaluate.resamples": 100}
    steps = {"train.steps": 1, "train.validate_every": 1, "train.batch_size": 2, "train.workers": 0}
    done = bench("hospitals", images, **tiny, **steps)
    assert done.exit_code == 0, done.output
    unseen = [row for row in json.loads(done.stdout)["summary"] if not row["seen"] and row["metric"] == "dice"]
    assert {(row["domain"], row["pipeline"]) for row in unseen} == {(s, p) for s in SITES for p in recipe["pipelines"]}
