"""Pairs by stem; everything that does not pair is found at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from unshift.config import parse
from unshift.datasets.folder import MEMBER as FOLDER
from unshift.datasets.paired import CardConfig, PairedRules
from unshift.errors import ConfigError, DataError, UnknownName


def opened(root: Path, **settings):
    return FOLDER(parse(FOLDER.Config, settings, where="test"), root)


def test_domains_are_folders_with_images(pairs, write) -> None:
    root = pairs({"B": ["1"], "A": ["2", "1"]})
    (root / "notes").mkdir()
    (root / ".cache" / "images").mkdir(parents=True)
    dataset = opened(root)
    assert dataset.domains == ("A", "B")
    assert [case.key for case in dataset.cases("A")] == ["A/1", "A/2"]
    with pytest.raises(UnknownName, match=r"unknown domain 'a'.*Known: A, B"):
        dataset.cases("a")


def test_every_fault_of_pairing_is_listed(pairs, write) -> None:
    root = pairs({"A": ["1", "2", "3", "4"], "B": ["1"]})
    (root / "A" / "masks" / "1.png").unlink()
    (root / "A" / "images" / "2.png").unlink()
    write("A/images/3.jpg", np.zeros((8, 10)))
    write("A/masks/4.bmp", np.zeros((8, 10)))
    write("A/fov/3.png", np.ones((8, 10)))
    dataset = opened(root)
    assert sorted((p.kind, p.file.relative_to(root).as_posix()) for p in dataset.scan.errors) == [
        ("doubled file", "A/images/3.jpg"),
        ("doubled file", "A/masks/4.bmp"),
        ("missing field of view", "A/images/1.png"),
        ("missing field of view", "A/images/4.png"),
        ("missing image", "A/masks/2.png"),
        ("missing mask", "A/images/1.png"),
    ]
    with pytest.raises(DataError, match="6 problems in its files"):
        dataset.cases("B")


def test_a_domain_without_masks_is_unlabeled(pairs, write) -> None:
    root = pairs({"A": ["1"]})
    write("B/images/1.png", np.zeros((4, 4)))
    dataset = opened(root)
    (case,) = dataset.cases("B")
    assert case.labels is None
    assert dataset.read_image(case).image.shape == (3, 4, 4)
    with pytest.raises(DataError, match=r"Case 'B/1': has no label map; one is required here"):
        dataset.read(case)
    assert [(p.kind, p.severity) for p in dataset.scan.problems] == [("unlabeled domain", "warning")]


def test_an_empty_folder_of_images_is_an_error(pairs) -> None:
    root = pairs({"A": ["1"]})
    (root / "B" / "images").mkdir(parents=True)
    assert [(p.kind, p.file) for p in opened(root).scan.errors] == [("no images", root / "B" / "images")]


def test_a_domain_that_may_not_be_read_is_an_error(pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pairs({"A": ["1"], "B": ["1"]})
    allowed = os.scandir

    def refuse(path: Path):
        if Path(path).is_relative_to(root / "B"):
            raise PermissionError(13, "Permission denied")
        return allowed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    kinds = {(p.kind, p.file) for p in opened(root).scan.errors}
    assert ("unreadable folder", root / "B") in kinds
    assert not any(kind.startswith("missing") for kind, _ in kinds)


def test_images_without_patient_are_listed(pairs) -> None:
    root = pairs({"A": ["p1_a", "x", "y"]})
    dataset = opened(root, patient={"pattern": r"^(p\d+)_"})
    assert [p.kind for p in dataset.scan.errors] == ["no patient", "no patient"]


def test_declared_test_domains(pairs) -> None:
    root = pairs({"A": ["1"], "B": ["1"]})
    dataset = opened(root, test_only=["B"])
    assert [dataset.cases(domain)[0].split for domain in dataset.domains] == [None, "test"]
    with pytest.raises(UnknownName, match="unknown domain 'C'"):
        opened(root, test_only=["C"]).cases("A")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"values": {"255": 2}}, r"values maps \{255: 2\}; labels must be 0 … 1"),
        ({"spacing": [1.0]}, "2 positive numbers"),
        ({"spacing": [1.0, 0.0]}, "2 positive numbers"),
        ({"channels": 0}, "greater than or equal to 1"),
        ({"clases": ["a", "b"]}, "Did you mean 'classes'"),
    ],
)
def test_wrong_rules_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(PairedRules, settings, where="test")


def test_rules_describe_the_task() -> None:
    rules = PairedRules(classes=("background", "cup", "rim"), regions={"disc": (1, 2), "cup": (1,)}, channels=1)
    assert rules.task().regions == {"disc": {1, 2}, "cup": {1}}


def test_no_domain_is_not_a_choice() -> None:
    with pytest.raises(ConfigError, match="at least 1 item"):
        parse(CardConfig, {"domains": []}, where="test")
