"""The card ``spinalcord`` on names as its owners give them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from unshift.config import parse
from unshift.datasets.spinalcord import MEMBER
from unshift.errors import UnknownName

NAMES = {
    "CEITEC": ["sub-10062Ses1_00", "sub-10062Ses2_00"],
    **{site: ["sub-9669_00"] for site in ("Juntendo", "Milan", "NWU", "Philips", "UCL")},
}
PATIENTS = {
    "CEITEC/sub-10062Ses1_00": "sub-10062",
    "CEITEC/sub-10062Ses2_00": "sub-10062",
    **{f"{site}/sub-9669_00": "sub-9669" for site in ("Juntendo", "Milan", "NWU", "Philips", "UCL")},
}


@pytest.fixture
def root(pairs) -> Path:
    return pairs({domain: list(stems) for domain, stems in NAMES.items()}, shape=(8, 10), labels=(0, 1, 2))


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


def test_volumes_keep_spacing_and_affine(tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.6, 3.0, 1.0])
    for site in NAMES:
        for part, kind in (("images", np.int16), ("masks", np.uint8)):
            folder = tmp_path / site / part
            folder.mkdir(parents=True)
            array = np.arange(4 * 5 * 6, dtype=kind).reshape(4, 5, 6) % 3
            nib.save(nib.Nifti1Image(array.astype(kind), affine), folder / "sub-7Ses1.nii.gz")
    assert MEMBER.settings_of(tmp_path) == {"dimensions": 3}
    sample = (dataset := opened(tmp_path, dimensions=3)).read(dataset.cases("UCL")[0])
    assert (sample.patient, sample.space) == ("sub-7", (6, 5, 4))
    assert sample.spacing == pytest.approx((3.0, 0.6, 0.5))
    assert sample.affine is not None
    assert sample.label_map is not None and sample.label_map[2, 1, 3] == (3 * 30 + 1 * 6 + 2) % 3


def test_slices_are_recognized(root: Path) -> None:
    assert MEMBER.settings_of(root) == {"dimensions": 2}
