"""`unshift bench RECIPE --replay PROTOCOL`: one command, both protocols, the difference of each switch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from experiment_recipes import TINY
from unshift.cli.main import build

RECIPE = {**TINY, "pipelines": {"baseline": {"objective": "erm"}}, "evaluate": {"metrics": ["dice"], "resamples": 100}}


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in arguments]
    return CliRunner().invoke(build(texts), texts)


@pytest.mark.slow
def test_both_protocols_and_what_each_switch_changes(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    arguments = ("bench", tmp_path / "tiny.yaml", "--runs", tmp_path / "runs", "--replay", "ram_dsir_2022")
    found = json.loads(call(*arguments, "--json").stdout)
    assert list(found["reports"]) == ["honest", "batch_norm", "threshold", "checkpoint", "all"]
    assert {row["switch"] for row in found["switches"]} == {"batch_norm", "threshold", "checkpoint", "all"}
    assert Path(found["table"]).is_file() and all(Path(path).is_file() for path in found["reports"].values())
    again = call(*arguments)
    assert again.exit_code == 0, again.output
    text = " ".join(again.output.split())
    assert "unseen domains, points" in text and "honest" in text and "replayed" in text and "Report, all:" in text
    assert "REPLAY of ram_dsir_2022" in text and "batch_norm: Batch norm used the statistics of test images" in text


def test_a_dry_run_says_what_the_switches_do_and_refuses_one_that_is_on(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    arguments = ("bench", tmp_path / "tiny.yaml", "--dry-run", "--replay", "ram_dsir_2022")
    text = " ".join(call(*arguments).output.split())
    assert "REPLAY of ram_dsir_2022" in text and "threshold: A region was predicted" in text
    assert "checkpoint: ORACLE" in text and "Distances are in voxels" not in text
    places = ("--set", "predict.threshold=0.75", "--runs", tmp_path / "runs")
    for refused in (call(*arguments, *places), call(*(a for a in arguments if a != "--dry-run"), *places)):
        assert refused.exit_code == 2 and "has the switch threshold of ram_dsir_2022 on" in refused.output
    assert not (tmp_path / "runs").exists(), "the corrected recipe may use the folder"


def test_an_unknown_protocol_and_a_word_that_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    assert call("bench", tmp_path / "tiny.yaml", "--replay", "saml_2020").exit_code == 2
    refused = call("bench", "complexity", "--replay", "ram_dsir_2022")
    assert refused.exit_code == 2 and "--replay" in refused.output
