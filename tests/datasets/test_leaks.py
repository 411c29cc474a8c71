"""What counts as a leak: the same patient, or the same numbers, in training and in testing."""

from __future__ import annotations

from pathlib import Path

import torch

from unshift.datasets.leaks import LEAK, same_content, same_patient, slice_digests
from unshift.datasets.survey import Item


def item(name: str, split: str | None, *, patient: str = "", domain: str = "MR") -> Item:
    return Item(name, domain, patient or name, Path(f"{name}.nii"), Path(f"{name}_l.nii"), split)


def test_digests_are_of_slices_with_structures_and_of_every_number() -> None:
    image, labels = torch.randn(1, 4, 3, 3), torch.zeros(4, 3, 3, dtype=torch.int64)
    labels[1, 1, 1] = labels[3, 0, 0] = 2
    digests = slice_digests(image, labels)
    assert len(digests) == 2 and digests[0] != digests[1]
    assert slice_digests(image[:, 1:2], labels[1:2]) == digests[:1]
    image[0, 3, 2, 2] = torch.nextafter(image[0, 3, 2, 2], torch.tensor(torch.inf))
    assert slice_digests(image, labels)[0] == digests[0] and slice_digests(image, labels)[1] != digests[1]


def test_one_patient_in_two_splits() -> None:
    items = [item("a", "train", patient="p"), item("b", "test", patient="p"), item("c", "test"), item("d", "train")]
    found = same_patient([*items, item("e", "train", patient="p", domain="CT"), item("f", None, patient="c")])
    assert list(found) == ["MR"] and [p.file.name for p in found["MR"]] == ["a.nii"]
    assert found["MR"][0].kind == LEAK and "b.nii shows the same case in split test" in found["MR"][0].what


def test_the_same_slices_in_two_splits() -> None:
    items = [item("a", "train"), item("b", "test"), item("c", None), item("d", "test"), item("e", "train", domain="CT")]
    contents = {"MR/a": ["1", "2"], "MR/b": ["2", "3", "4"], "MR/c": ["4"], "MR/d": ["5"], "CT/e": ["5"]}
    (problem,) = same_content(items, contents)["MR"]
    assert problem.file.name == "b.nii"
    assert (
        problem.what == "2 of 3 slices with structures are, number by number, those of a (train), c (to be trained on)"
    )
    assert "--accept-leak" in problem.remedy
    assert same_content(items, {"MR/a": ["1"], "MR/c": ["1"], "MR/b": ["9"]}) == {}
