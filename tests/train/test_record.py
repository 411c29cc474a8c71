"""A folder holds one training: what differs is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_doubles import build, loader, target_loader

from unshift.errors import BundleError, ConfigError
from unshift.train.precision import Decision
from unshift.train.record import describe, differences, read_record, write_record
from unshift.train.settings import TrainConfig

DECISION = Decision("32", True, "because")


def described(config: TrainConfig | None = None, *, seed: int = 0) -> dict:
    config = config or TrainConfig()
    return describe(build(), loader(config), None, config=config, seed=seed)


def test_round_trip(tmp_path: Path) -> None:
    assert read_record(tmp_path, described()) is None
    write_record(tmp_path, described(), DECISION)
    assert read_record(tmp_path, described()) == DECISION
    assert [path.name for path in tmp_path.iterdir()] == ["training.json"]


def test_bystanders_may_change(tmp_path: Path) -> None:
    write_record(tmp_path, described(), DECISION)
    changed = TrainConfig(max_minutes=3.0, workers=0, checkpoint_every=7, cache_gigabytes=0.0)
    assert read_record(tmp_path, described(changed)) == DECISION


def test_what_differs_is_listed(tmp_path: Path) -> None:
    write_record(tmp_path, described(), DECISION)
    with pytest.raises(ConfigError) as caught:
        read_record(tmp_path, described(TrainConfig(batch_size=3, clip=1.0), seed=4))
    text = str(caught.value)
    assert "config: batch_size: 8 in the folder, 3 now" in text
    assert "config: clip: nothing in the folder, 1.0 now" in text
    assert "seed: 0 in the folder, 4 now" in text
    assert "Train in another folder" in text


def test_other_data_is_seen(tmp_path: Path) -> None:
    config = TrainConfig()
    write_record(tmp_path, described(), DECISION)
    other = loader(config)
    other.cases = other.cases[1:]
    with pytest.raises(ConfigError, match="cases: a/a0: .* in the folder, nothing now"):
        read_record(tmp_path, describe(build(), other, None, config=config, seed=0))
    changed = loader(config)
    changed.dataset.fingerprint = lambda case: "f" * 64  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match='cases: a/a0: .* in the folder, "ffffffffffffffff" now'):
        read_record(tmp_path, describe(build(), changed, None, config=config, seed=0))
    with pytest.raises(ConfigError, match="unlabeled cases"):
        read_record(tmp_path, describe(build(), loader(config), target_loader(config), config=config, seed=0))


def test_many_differences_are_cut_short() -> None:
    lines = differences({"cases": {str(i): 0 for i in range(50)}}, {"cases": {str(i): 1 for i in range(50)}})
    assert len(lines) == 6
    assert lines[-1] == "cases: 45 more differences"


def test_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(BundleError, match="training.json: cannot be read"):
        read_record(tmp_path, described())
