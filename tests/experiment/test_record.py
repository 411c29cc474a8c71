"""What a run folder records, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiment_recipes import TINY, tiny
from unshift.datasets import phantom
from unshift.errors import ConfigError, DataError
from unshift.experiment import record
from unshift.experiment.run import Result, keep_split, prepare


def test_the_record(finished: Result) -> None:
    recipe, document = record.read_run(finished.folder)
    assert recipe == tiny()
    assert document["environment"]["torch"]
    assert document["code"].startswith("0.1.0")
    hashes = json.loads((finished.folder / "data.json").read_text(encoding="utf-8"))
    assert len(hashes) == 32
    assert all(len(value) == 64 for value in hashes.values())


def test_the_record_is_written_before_the_first_step(tmp_path: Path) -> None:
    current, _ = prepare(tiny(), root=None, runs=tmp_path)
    assert (current.folder / "recipe.yaml").is_file()
    assert not current.store.exists()


def test_changed_data_is_refused_once_something_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tiny(), root=None, runs=tmp_path)
    (tmp_path / "tiny" / "parts").mkdir()
    (tmp_path / "tiny" / "parts" / "k.parquet").write_bytes(b"")
    monkeypatch.setattr(phantom.MEMBER, "fingerprint", lambda self, case: "0" * 64)
    with pytest.raises(DataError, match=r"32 case\(s\) changed since this run began, such as A/"):
        prepare(tiny(), root=None, runs=tmp_path)


def test_a_repaired_file_is_welcome_before_anything_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tiny(), root=None, runs=tmp_path)
    monkeypatch.setattr(phantom.MEMBER, "fingerprint", lambda self, case: "0" * 64)
    prepare(tiny(), root=None, runs=tmp_path)
    hashes = json.loads((tmp_path / "tiny" / "data.json").read_text(encoding="utf-8"))
    assert set(hashes.values()) == {"0" * 64}


def test_a_corrected_recipe_is_welcome_before_anything_was_trained(tmp_path: Path) -> None:
    current, plan = prepare(tiny(), root=None, runs=tmp_path)
    keep_split(current, plan)
    keep_split(*prepare(tiny(seeds=[1]), root=None, runs=tmp_path))
    assert record.read_run(tmp_path / "tiny")[0].seeds == (1,)
    (tmp_path / "tiny" / "trainings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        prepare(tiny(), root=None, runs=tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [1]}, r"\(seeds: \[0\] there, \[1\] here\)"),
        ({"train": {"steps": 7, "batch_size": 2, "precision": "32"}}, r"\(train\.steps: 6 there, 7 here; train\."),
        ({"dataset": {**TINY["dataset"], "cases": 9}}, r"\(dataset\.cases: 16 there, 9 here\)"),
        ({"pipelines": {"baseline": {"objective": "erm"}}}, r"\(pipelines\.equalized: there alone\)"),
        ({"description": "x" * 90}, r"\(description: \"\" there, \"x{57} … here\)"),
        (
            {"seeds": [1], "description": "y", "selection": "last", "input": {"mode": "resize", "size": [16, 16]}},
            r"input\.size: \[32, 32\] there, \[16, 16\] here; selection.*; and 1 more, see its recipe\.yaml\)",
        ),
    ],
)
def test_another_recipe_is_refused_by_what_differs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    prepare(tiny(), root=None, runs=tmp_path)
    (tmp_path / "tiny" / "trainings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        prepare(tiny(**changes), root=None, runs=tmp_path)


def test_a_recipe_may_be_resumed_with_another_time_limit(tmp_path: Path) -> None:
    prepare(tiny(), root=None, runs=tmp_path)
    (tmp_path / "tiny" / "trainings.json").write_text("{}", encoding="utf-8")
    prepare(tiny(train={**TINY["train"], "max_minutes": 3}), root=None, runs=tmp_path)


def test_runs_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refused)
        with pytest.raises(ConfigError, match=r"tiny: cannot be written to \(No such.*Give another --runs"):
            prepare(tiny(), root=None, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_runs_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match="runs: is a file; --runs names the folder"):
        prepare(tiny(), root=None, runs=tmp_path / "runs")


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        record.read_run(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.json"
    record.write_json(path, {"a": 1})

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        record.write_json(path, {"a": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}


def test_environment_names_the_machine() -> None:
    found = record.environment()
    assert "cores" in found["machine"]
    assert {"torch", "numpy", "monai", "python", "accelerators"} <= found.keys()
