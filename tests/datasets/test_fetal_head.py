"""The card ``fetal_head`` on names as its owners give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.config import parse
from unshift.datasets.fetal_head import MEMBER
from unshift.errors import UnknownName

NAMES = {"HC18": ["000_HC", "010_HC", "010_2HC", "010_3HC"]}
PATIENTS = {"HC18/000_HC": "000", "HC18/010_HC": "010", "HC18/010_2HC": "010", "HC18/010_3HC": "010"}


@pytest.fixture
def root(pairs) -> Path:
    return pairs({domain: list(stems) for domain, stems in NAMES.items()}, shape=(8, 10), labels=(0, 255))


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
