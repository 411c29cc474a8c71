"""The card ``nuclei`` on names as its owners give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift.config import parse
from unshift.datasets.nuclei import MEMBER, slides
from unshift.errors import UnknownName
from unshift.evaluate.split import divide

NAMES = {"fluo-256": ["a"], "fluo-360": ["a"], "HE-320x256": ["a"], "brightfield-1024": ["a"]}
PATIENTS = {f"{d}/a": f"{d}/a" for d in NAMES}


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


def test_tiles_of_one_slide_are_one_patient(pairs) -> None:
    first, second = [name for name, slide in slides().items() if slide == "HE-320x256/slide-01"][:2]
    names = {domain: list(stems) for domain, stems in NAMES.items()} | {"HE-320x256": [first, second + "0" * 48, "a"]}
    dataset = opened(pairs(names, shape=(8, 10), labels=(0, 255)))
    found = [case.patient for case in dataset.cases("HE-320x256")]
    assert sorted(found) == ["HE-320x256/a", *["HE-320x256/slide-01"] * 2]


@pytest.mark.real
def test_no_slide_is_on_both_sides_of_a_split(real_data: Path) -> None:
    dataset = opened(real_data / "nuclei_dsb2018")
    cases = dataset.cases("HE-320x256")
    assert len({case.patient for case in cases}) < len(cases) / 3 and set(slides()) <= {
        case.name[:16] for domain in dataset.domains for case in dataset.cases(domain)
    }
    done = divide(cases, domain="HE-320x256", validation=0.1, test=0.3, seed=0)
    assert not {case.patient for case in done.train} & {case.patient for case in done.test}
