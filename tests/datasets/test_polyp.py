"""The card ``polyp`` on names as its owners give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.config import parse
from unshift.datasets.polyp import MEMBER
from unshift.errors import DataError, UnknownName

NAMES = {f"PolypGen-C{i}": ["a", "b"] for i in range(1, 7)}
PATIENTS = {f"{d}/{s}": f"{d}/{s}" for d, stems in NAMES.items() for s in stems}


@pytest.fixture
def root(pairs) -> Path:
    return pairs({domain: list(stems) for domain, stems in NAMES.items()}, shape=(8, 10, 3), labels=(0, 255))


def opened(root: Path, **settings):
    return MEMBER(parse(MEMBER.Config, settings, where="test"), root)


def test_domains_patients_and_labels(root: Path) -> None:
    dataset = opened(root)
    assert dataset.domains == tuple(NAMES)
    found = {case.key: case.patient for domain in dataset.domains for case in dataset.cases(domain)}
    assert found == PATIENTS
    sample = dataset.read(dataset.cases(dataset.domains[0])[0])
    assert sample.image.shape == (dataset.task.channels, 8, 10)
    assert sample.label_map is not None
    assert set(sample.label_map.unique().tolist()) == set(range(dataset.task.num_classes))


def test_part_of_the_domains_can_be_used(root: Path) -> None:
    first = next(iter(NAMES))
    assert opened(root, domains=[first]).domains == (first,)
    with pytest.raises(UnknownName, match="unknown domain 'elsewhere'"):
        opened(root, domains=["elsewhere"]).cases("elsewhere")


def test_a_missing_hospital_is_named(root: Path) -> None:
    for file in sorted((root / "PolypGen-C4").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    with pytest.raises(DataError, match=r"(?s)PolypGen-C4/images are missing; found are PolypGen-C1.*Expected layout"):
        opened(root).cases("PolypGen-C1")
