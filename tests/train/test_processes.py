"""Real processes: killed at random moments, and two that share the work."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import training_child
from training_doubles import sha256

from unshift.train.journal import read_journal

CHILD = Path(training_child.__file__)


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(CHILD), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output


def final(folder: Path) -> tuple[str, str]:
    path = folder / "checkpoints" / "step_000024"
    return sha256(path / "weights.safetensors"), sha256(path / "optimizer.safetensors")


def kill_when_step_is_reached(folder: Path, step: int, delay: float) -> None:
    process = start("resume", str(folder), "0.03")
    until = time.monotonic() + 120
    while max([entry["step"] for entry in read_journal(folder)], default=0) < step:
        assert time.monotonic() < until and process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()  # SIGKILL
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start("resume", str(folder), "0"))
    return folder


def killed_often(folder: Path, steps: list[int], seed: int) -> None:
    generator = random.Random(seed)
    for step in steps:
        kill_when_step_is_reached(folder, step, generator.uniform(0, 0.04))
    finish(start("resume", str(folder), "0"))


def test_killed_twice_ends_with_the_same_weights(tmp_path: Path, undisturbed: Path) -> None:
    killed_often(tmp_path, sorted(random.Random(0).sample(range(1, 22), 2)), 0)
    assert final(tmp_path) == final(undisturbed)
    steps = [(e["step"], e["phase"], e["loss"]) for e in read_journal(tmp_path) if e["event"] == "step"]
    assert steps == [(e["step"], e["phase"], e["loss"]) for e in read_journal(undisturbed) if e["event"] == "step"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_at_many_random_moments(tmp_path: Path, undisturbed: Path, seed: int) -> None:
    killed_often(tmp_path, sorted(random.Random(seed).sample(range(1, 23), 4)), seed)
    assert final(tmp_path) == final(undisturbed)


def curve(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_journal(folder) if entry["event"] == "step"]


@pytest.mark.parametrize("kind", ["Plain", pytest.param("TwoPhases", marks=pytest.mark.slow)])
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    processes = [start("ddp", str(tmp_path / "two"), kind, LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    training_child.shared(tmp_path / "one", kind, 1)
    for process in processes:
        finish(process)
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == training_child.SHARED.steps * (1 if kind == "Plain" else 2)
    assert two == pytest.approx(one, rel=1e-5)
    assert one[-1 if kind == "Plain" else -2] < 0.95 * one[0]
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1  # only the first process writes


@pytest.mark.slow
def test_the_engine_starts_the_second_process_itself(tmp_path: Path) -> None:
    finish(start("ddp", str(tmp_path / "two"), "Plain"))
    training_child.shared(tmp_path / "one", "Plain", 1)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-5)
