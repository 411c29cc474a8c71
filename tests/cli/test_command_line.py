"""The command line as a person meets it: help, honest exit codes, machine-readable output, resumable Ctrl-C."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from experiment_recipes import TINY
from unshift.cli.main import VERBS, build

COMMAND = [sys.executable, "-c", "from unshift.cli.main import main; main()"]

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in arguments]
    return CliRunner().invoke(build(texts), texts)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    result = call("bench", folder / "tiny.yaml", "--runs", folder / "runs", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert Path(document["report"]).is_file()
    assert {row["pipeline"] for row in document["summary"]} == {"baseline", "equalized"}
    return folder / "runs" / "tiny"


def test_help_lists_every_verb_without_loading_torch() -> None:
    code = "import sys; from unshift.cli.main import build; build(['--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    result = call("--help")
    assert result.exit_code == 0
    for verb in VERBS:
        assert verb in result.output


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "data"])
def test_every_verb_has_an_example(verb: str) -> None:
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: unshift {verb}" in " ".join(result.output.replace("│", " ").split())


def test_data_verbs_have_an_example() -> None:
    for verb in ("check", "show", "prepare"):
        assert f"unshift data {verb}" in " ".join(call("data", verb, "--help").output.split())


def test_version() -> None:
    assert call("--version").output.startswith("unshift 0.")


def test_unknown_verb_and_option_exit_with_two() -> None:
    assert call("trian").exit_code == 2
    assert call("bench", "--recipes", "x").exit_code == 2


def test_list() -> None:
    result = call("list", "objectives", "--json")
    assert {"erm", "augmented"} <= {row["name"] for row in json.loads(result.stdout)}
    assert "erm" in call("list").output
    shifts = {row["name"]: row["summary"] for row in json.loads(call("list", "shifts", "--json").stdout)}
    assert (
        shifts["jpeg_compression"] == "JPEG of this quality: 25, 18, 15, 10, 7" and "yellow" in shifts["old_endoscope"]
    )
    assert "old_endoscope" in call("list").output
    wrong = call("list", "objectivs")
    assert wrong.exit_code == 2
    assert "Did you mean 'objectives'" in wrong.output


def test_schema(tmp_path: Path) -> None:
    assert json.loads(call("schema").stdout)["title"] == "unshift recipe"
    assert call("schema", "--output", tmp_path / "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["title"] == "unshift recipe"


def test_wrong_recipe_names_the_key(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(yaml.safe_dump({**TINY, "trian": {}}), encoding="utf-8")
    result = call("bench", recipe, "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert "Did you mean 'train'" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_dry_run_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    result = call("bench", recipe, "--runs", tmp_path / "runs", "--dry-run")
    assert result.exit_code == 0
    assert "nothing was trained" in result.output
    assert 'normalizations histogram_equalization (equalized): method: "global"' in result.output
    assert "networks unet (all pipelines)" in result.output, "one line for all that share it"
    assert not (tmp_path / "runs").exists()
    document = json.loads(call("bench", recipe, "--runs", tmp_path / "runs", "--dry-run", "--json").stdout)
    assert [job["kind"] for job in document["jobs"]] == ["train", "test", "test"]


def test_bench_shows_a_table_and_the_report(bench_folder: Path) -> None:
    result = call("bench", bench_folder.parent.parent / "tiny.yaml", "--runs", bench_folder.parent)
    assert result.exit_code == 0
    assert "A (seen)" in result.output and "equalized" in result.output
    assert "report.html" in result.output


def test_report_and_compare(bench_folder: Path, tmp_path: Path) -> None:
    assert call("report", bench_folder).exit_code == 0
    result = call("compare", bench_folder / "scores.parquet", "--json", "-o", tmp_path / "c.csv")
    rows = json.loads(result.stdout)
    assert {row["pipeline"] for row in rows} == {"equalized"}
    assert (tmp_path / "c.csv").stat().st_size > 0
    assert call("compare", bench_folder / "scores.parquet", "--baseline", "bse").exit_code == 2
    assert "Did you mean 'dice'" in call("compare", bench_folder / "scores.parquet", "--metric", "dicee").output
    assert call("compare", bench_folder / "scores.parquet", "-o", tmp_path / "no" / "c.csv").exit_code == 2


def test_train_writes_a_bundle_that_predict_takes(recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    trained = json.loads(call("train", recipe, "--runs", runs, "--json").stdout)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(tmp_path / "a b.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    good = call("predict", trained["bundle"], tmp_path / "a b.png", "-o", tmp_path / "out", "--json")
    assert good.exit_code == 0, good.output
    written = Path(json.loads(good.stdout)["done"][0]["label_map"])
    assert np.asarray(Image.open(written)).shape == (40, 50)
    mixed = call("predict", trained["bundle"], tmp_path / "a b.png", tmp_path / "broken.png", "-o", tmp_path / "out")
    assert mixed.exit_code == 1
    assert "broken.png" in mixed.output
    assert call("predict", trained["bundle"], tmp_path / "none.png").exit_code == 2
    assert call("predict", tmp_path, tmp_path / "a b.png").exit_code == 2
    assert call("train", recipe, "--runs", runs, "--pipeline", "basline").exit_code == 2
    assert call("train", recipe, "--runs", runs, "--fold", "x").exit_code == 2
    assert "Nothing was trained" in call("train", recipe, "--runs", tmp_path / "no", "--dry-run").output


@pytest.mark.slow
def test_two_processes_train_one_bundle(recipe: Path, tmp_path: Path) -> None:
    arguments = ["train", str(recipe), "--runs", str(tmp_path / "runs"), "--devices", "2", "--accelerator", "cpu"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("unshift")), *arguments], capture_output=True, text=True, env=ONE_THREAD
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Bundle: ") == 1
    assert len(list((tmp_path / "runs").rglob("bundle.yaml"))) == 1
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.name.endswith(".partial")]


def folder_dataset(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for domain in ("a", "b"):
        for part in ("images", "masks"):
            (root / domain / part).mkdir(parents=True)
        for i in range(6):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 6 : 18 + i] = 255
            image = (rng.integers(0, 80, (32, 32, 3)) + mask[..., None] // 2).astype(np.uint8)
            Image.fromarray(image).save(root / domain / "images" / f"{i}.png")
            Image.fromarray(mask).save(root / domain / "masks" / f"{i}.png")
    return root


def test_evaluate_scores_perfect_predictions_as_one(tmp_path: Path) -> None:
    root = folder_dataset(tmp_path / "set")
    (tmp_path / "predictions" / "a").mkdir(parents=True)
    for mask in (root / "a" / "masks").iterdir():
        labels = (np.asarray(Image.open(mask)) > 0).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / "predictions" / "a" / mask.name)
    options = ("--data", root, "--metric", "dice", "--metric", "assd", "-o", tmp_path / "s.parquet", "--json")
    rows = json.loads(call("evaluate", tmp_path / "predictions", *options).stdout)["summary"]
    assert {row["metric"]: row["mean"] for row in rows if row["domain"] == "a"} == {"dice": 1.0, "assd": 0.0}
    (tmp_path / "predictions" / "a" / "3.png").unlink()
    some = json.loads(call("evaluate", tmp_path / "predictions", "--partial", *options).stdout)["summary"]
    assert {row["n_scored"] for row in some} == {5}
    missing = call("evaluate", tmp_path / "predictions", *options)
    assert missing.exit_code == 2
    assert "a/3" in missing.output


def test_data_check_and_show(tmp_path: Path) -> None:
    root = folder_dataset(tmp_path / "set")
    clean = json.loads(call("data", "check", root, "--json").stdout)
    assert clean["domains"] == {"a": {"cases": 6, "patients": 6}, "b": {"cases": 6, "patients": 6}}
    assert clean["errors"] == 0
    (root / "a" / "masks" / "2.png").unlink()
    (root / "b" / "images" / "1.png").write_bytes(b"broken")
    result = call("data", "check", root, "--json")
    assert result.exit_code == 1
    found = json.dumps(json.loads(result.stdout)["problems"])
    assert "2.png" in found and "1.png" in found
    shown = call("data", "show", folder_dataset(tmp_path / "good"), "-o", tmp_path / "sheet.png")
    assert shown.exit_code == 0, shown.output
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape[1] > 400
    assert call("data", "check", tmp_path / "nowhere").exit_code == 2


def weights_of(runs: Path) -> list[str]:
    """SHA-256 of the last weights of every training."""
    folders = sorted((runs / "trainings").iterdir())
    last = [sorted((folder / "checkpoints").glob("step_*"))[-1] for folder in folders]
    return [hashlib.sha256((step / "weights.safetensors").read_bytes()).hexdigest() for step in last]


def journal_lines(runs: Path) -> int:
    return sum(p.read_text(encoding="utf-8").count("\n") for p in runs.glob("trainings/*/journal.jsonl"))


def test_killed_twice_the_run_ends_with_the_same_weights_and_scores(recipe: Path, tmp_path: Path) -> None:
    options = ["--set", "train.steps=60", "--set", "train.checkpoint_every=5", "--set", "train.validate_every=10"]
    whole = subprocess.run(
        [*COMMAND, "bench", str(recipe), "--runs", str(tmp_path / "whole"), *options], env=ONE_THREAD
    )
    assert whole.returncode == 0
    arguments = [*COMMAND, "bench", str(recipe), "--runs", str(tmp_path / "killed"), *options]
    for steps in (3, 12):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD)
        while journal_lines(tmp_path / "killed") < steps:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert subprocess.run(arguments, env=ONE_THREAD).returncode == 0
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "whole")
    scores = [pd.read_parquet(tmp_path / name / "tiny" / "scores.parquet") for name in ("killed", "whole")]
    assert scores[0].equals(scores[1])
    assert not [p for p in (tmp_path / "killed").rglob("*") if p.name.endswith(".partial")]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_schedulers_stop_leave_a_run_that_goes_on(sent: Any, recipe: Path, tmp_path: Path) -> None:
    """Interrupted while training: exit code 130, and the same command ends the run."""
    arguments = ["bench", str(recipe), "--runs", str(tmp_path / "runs"), "--set", "train.steps=150"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "runs").glob("trainings/*/checkpoints/step_*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages.decode()
    assert b"goes on from here" in messages
    assert b"Traceback" not in messages
    again = call(*arguments)
    assert again.exit_code == 0, again.output
    journals = list((tmp_path / "runs" / "trainings").glob("*/journal.jsonl"))
    assert len(journals) == 1
    assert "resume" in journals[0].read_text(encoding="utf-8")
