"""The card ``fundus_vessel`` on names as its owners give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.config import parse
from unshift.datasets.fundus_vessel import MEMBER
from unshift.errors import UnknownName

NAMES = {
    "CHASE_DB1": ["Image_01L", "Image_01R", "Image_02L"],
    "HRF": ["01_dr", "01_g", "01_h"],
    "LES_AV": ["12", "111"],
}
PATIENTS = {
    "CHASE_DB1/Image_01L": "CHASE_DB1/Image_01",
    "CHASE_DB1/Image_01R": "CHASE_DB1/Image_01",
    "CHASE_DB1/Image_02L": "CHASE_DB1/Image_02",
    "HRF/01_dr": "HRF/01_dr",
    "HRF/01_g": "HRF/01_g",
    "HRF/01_h": "HRF/01_h",
    "LES_AV/12": "LES_AV/12",
    "LES_AV/111": "LES_AV/111",
}


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
