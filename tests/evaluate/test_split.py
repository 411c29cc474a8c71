"""Declared splits are kept, drawn ones are stable, stored ones are read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unshift.errors import ProtocolError
from unshift.evaluate.protocol import ProtocolConfig, folds
from unshift.evaluate.split import divide, read_split, write_split
from unshift.sample import Case

PLAN = ProtocolConfig(sources=("A",), targets=("B",), upper_bound=True)


def declared(*splits: str | None) -> list[Case]:
    return [Case(f"c{i}", f"P{i}", "A", split=split) for i, split in enumerate(splits)]


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


def test_declared_splits_are_kept() -> None:
    parts = divide(declared("train", "validation", "test", "train"), domain="A", validation=0.5, test=0.4, seed=0)
    assert (names(parts.train), names(parts.validation), names(parts.test)) == (["c0", "c3"], ["c1"], ["c2"])


def test_declared_training_patients_may_validate_but_never_test() -> None:
    for seed in range(20):
        parts = divide(declared(*["train"] * 8, None, None), domain="A", validation=0.2, test=0.2, seed=seed)
        assert sorted(names(parts.test)) == ["c8", "c9"]
        assert len(parts.validation) == 2
        assert not {"c8", "c9"} & {*names(parts.validation), *names(parts.train)}


def test_a_share_of_zero_draws_nobody() -> None:
    parts = divide(declared(*[None] * 4), domain="A", validation=0.0, test=0.0, seed=0)
    assert (len(parts.train), parts.validation, parts.test) == (4, (), ())


def test_the_order_of_files_does_not_matter() -> None:
    cases = declared(*[None] * 12)
    first, second = (divide(c, domain="A", validation=0.2, test=0.2, seed=5) for c in (cases, cases[::-1]))
    assert {*names(first.test)} == {*names(second.test)}
    assert {*names(first.validation)} == {*names(second.validation)}


def test_one_patient_declared_twice_is_named() -> None:
    cases = [Case("a", "P", "A", split="train"), Case("b", "P", "A", split="test")]
    with pytest.raises(ProtocolError, match="Patient 'P': declared in train and, with case 'A/b', in test"):
        divide(cases, domain="A", validation=0.1, test=0.1, seed=0)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ProtocolError, match="Case 'A/c0': declared split is 'dev'"):
        divide(declared("dev"), domain="A", validation=0.1, test=0.1, seed=0)


def test_round_trip(dataset, tmp_path: Path) -> None:
    data = dataset(A=6, B=4)
    plan = folds(data, PLAN, seed=0)
    write_split(tmp_path / "split.json", plan)
    assert read_split(tmp_path / "split.json", data) == plan


def test_a_split_that_no_longer_fits_the_data(dataset, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    write_split(path, folds(dataset(A=6, B=4), PLAN, seed=0))
    with pytest.raises(ProtocolError, match=r"case 'B/p03-0' is not in the dataset any more"):
        read_split(path, dataset(A=6, B=3))
    other = dataset(A=6, B=4)
    other.listed = [Case(c.name, "A/p00", c.domain) for c in other.listed]
    with pytest.raises(ProtocolError, match="was of patient .* and is now of"):
        read_split(path, other)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1, "folds": [{}]}', '{"version": 1, "folds": 3}'])
def test_a_damaged_file(dataset, tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(ProtocolError, match="not a stored split"):
        read_split(path, dataset(A=3))
    with pytest.raises(ProtocolError, match="not a stored split"):
        read_split(tmp_path / "absent.json", dataset(A=3))


def test_another_version(dataset, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"version": 99, "folds": []}))
    with pytest.raises(ProtocolError, match="version 99; this program reads 1"):
        read_split(tmp_path / "split.json", dataset(A=3))


@pytest.mark.parametrize("adapt", ["held_out", "transductive"])
def test_round_trip_with_unlabeled_images(dataset, tmp_path: Path, adapt: str) -> None:
    data = dataset(A=6, B=4)
    plan = folds(data, ProtocolConfig(sources=("A",), targets=("B",), adapt=adapt), seed=0, adapts=True)
    write_split(tmp_path / "split.json", plan)
    found = read_split(tmp_path / "split.json", data)
    assert found == plan and found[0].unlabeled and found[0].transductive is (adapt == "transductive")


def test_a_split_without_adaptation_is_stored_as_ever(dataset, tmp_path: Path) -> None:
    """So that runs that were begun before adaptation existed go on."""
    write_split(tmp_path / "split.json", folds(dataset(A=6, B=4), PLAN, seed=0))
    rows = json.loads((tmp_path / "split.json").read_text())["folds"]
    assert all(row.keys() == {"name", "kind", "sources", "targets", "train", "validation", "test"} for row in rows)
