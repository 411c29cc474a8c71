"""The quick recipes on real images, with a few steps: every stage runs on every dataset that has one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unshift.cli.main import build

ROOT = Path(__file__).parents[2]


@pytest.mark.real
@pytest.mark.timeout(600)
def test_a_short_bench_on_breast_ultrasound(real_data: Path, tmp_path: Path) -> None:
    arguments = ["bench", str(ROOT / "recipes" / "breast_us" / "quick.yaml"), "--data", str(real_data / "breast_us")]
    arguments += ["--runs", str(tmp_path), "--json", "--set", "train.steps=4", "--set", "train.validate_every=4"]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {r["domain"] for r in document["summary"]} == {"BUS-UCLM", "BUS-UC-mini", "BrEaST-mini"}
    assert Path(document["report"]).stat().st_size > 100_000


@pytest.mark.real
@pytest.mark.parametrize("name", ["polyp", "fundus_vessel", "breast_us"])
def test_the_quick_recipes_plan_on_real_images(real_data: Path, tmp_path: Path, name: str) -> None:
    recipe = ROOT / "recipes" / name / "quick.yaml"
    arguments = ["bench", str(recipe), "--data", str(real_data / name), "--runs", str(tmp_path), "--dry-run", "--json"]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    jobs = json.loads(result.stdout)["jobs"]
    assert sum(job["kind"] == "train" for job in jobs) == (6 if name == "fundus_vessel" else 2)
