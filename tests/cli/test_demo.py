"""The demo's promise: on the phantom, the baseline loses at least 15 Dice points on vendor B, and a repair helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unshift.cli.main import build


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_gap_is_real(tmp_path: Path) -> None:
    arguments = ["demo", "--runs", str(tmp_path), "--json"]
    result = CliRunner().invoke(build(arguments), arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    dice = {(r["pipeline"], r["domain"]): r["mean"] for r in document["summary"] if r["metric"] == "dice"}
    assert dice["baseline", "A"] > 0.9
    assert dice["baseline", "A"] - dice["baseline", "B"] >= 0.15
    helped = [
        r for r in document["comparisons"] if (r["pipeline"], r["domain"], r["metric"]) == ("augmented", "B", "dice")
    ]
    assert helped[0]["low"] > 0


def test_demo_dry_run_shows_two_trainings_and_three_tests(tmp_path: Path) -> None:
    arguments = ["demo", "--runs", str(tmp_path), "--dry-run", "--json"]
    result = CliRunner().invoke(build(arguments), arguments)
    assert [job["kind"] for job in json.loads(result.stdout)["jobs"]] == ["train", "test", "train", "test", "test"]
    assert not list(tmp_path.iterdir())
