"""From a pair of files to a prepared pair: values translated, whole numbers kept whole, faults named."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest
import torch

from unshift.contracts import Picture
from unshift.datasets import volumes
from unshift.datasets.survey import Item
from unshift.errors import DataError
from unshift.formats import reading

AFFINE = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))


@pytest.fixture
def item(tmp_path: Path) -> Item:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    return Item("case", "CT", "CT/case", tmp_path / "i.nii.gz", tmp_path / "l.nii.gz")


def test_stored_values_become_labels() -> None:
    stored = torch.tensor([0, 6, 2, 7, 15])
    assert volumes.by_value({0: 0, 6: 1, 2: 2, 7: 0})(stored).tolist() == [0, 1, 2, 0, -1]
    assert volumes.by_range(((0, 0, 0), (5, 7, 1)))(stored).tolist() == [0, 1, -1, 1, -1]


@pytest.mark.parametrize(("values", "kind"), [([-1024, 3071], "int16"), ([0.5, 1.0], "float32")])
def test_whole_numbers_are_stored_as_integers(item: Item, tmp_path: Path, values, kind: str) -> None:
    image = Picture(torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 2), (2.0, 2.0, 2.0), AFFINE)
    paths = volumes.written(item, tmp_path, image, Picture(torch.tensor([[[0, 4]]]), image.spacing, AFFINE))
    assert str(nib.load(paths[0]).get_data_dtype()) == kind
    found, labels = reading.read_image(paths[0]), reading.read_label_map(paths[1])
    assert torch.equal(found.array, image.array) and found.spacing == (2.0, 2.0, 2.0)
    assert found.affine is not None and torch.equal(found.affine, AFFINE) and labels.array.flatten().tolist() == [0, 4]
    assert len(volumes.contents(*paths)) == 1


def test_what_is_not_known_is_not_made_up(item: Item, tmp_path: Path) -> None:
    paths = volumes.written(item, tmp_path, Picture(torch.rand(1, 1, 3, 2)), Picture(torch.zeros(1, 3, 2).long()))
    found = reading.read_image(paths[0])
    assert found.array.shape == (1, 1, 3, 2) and found.spacing is None and found.affine is None
    problem = volumes.turned(item, found, torch.zeros(1, 3, 2).long(), "axial")
    assert not isinstance(problem, tuple) and problem.kind == "no orientation" and problem.file == item.image


def test_faults(item: Item) -> None:
    def kinds(image: torch.Tensor, stored: torch.Tensor) -> list[tuple[str, str]]:
        labels = volumes.by_value({0: 0, 1: 1})(stored)
        return [(p.kind, p.file.name) for p in volumes.faults(item, Picture(image), stored, labels, "0 and 1")]

    image, stored = torch.zeros(1, 2, 3, 4), torch.zeros(2, 3, 4).long()
    assert kinds(image, stored) == [("empty label map", "l.nii.gz")]
    stored[0, 0, 0] = 1
    assert kinds(image, stored) == []
    assert kinds(image[0, 0][None], stored) == [("size", "i.nii.gz")]
    assert kinds(image.expand(2, 2, 3, 4), stored) == [("size", "i.nii.gz")]
    assert kinds(image, stored[:1]) == [("size", "l.nii.gz")]
    assert kinds(image, 3 * stored) == [("wrong label", "l.nii.gz")]


def test_the_file_of_a_message_is_the_file_of_the_finding(item: Item) -> None:
    inside = item.labels / "3.png"
    found = [
        volumes.unusable(DataError(f"{inside}: is 3×4. Copy it."), item),
        volumes.unusable(DataError(f"{item.image}: is cut off. Copy it."), item),
        volumes.unusable(DataError("No file named. Look."), item),
    ]
    assert [(p.file, p.what, p.remedy) for p in found] == [
        (inside, "is 3×4", "Copy it."),
        (item.image, "is cut off", "Copy it."),
        (item.image, "No file named", "Look."),
    ]
