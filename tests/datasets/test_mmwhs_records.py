"""The packed heart data: middle slices, test volumes turned as they are, and the leak that is known of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from public_packages import example, packed_slice, record, tfrecord, volume, write_records
from unshift.contracts import Picture
from unshift.datasets import mmwhs_records
from unshift.datasets.survey import Item
from unshift.formats import reading

SIDE = 16


@pytest.fixture(autouse=True)
def side(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mmwhs_records.SIDE == 256
    monkeypatch.setattr(mmwhs_records, "SIDE", SIDE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("images", "masks"):
        (tmp_path / "out" / part).mkdir(parents=True)
    return tmp_path / "out"


def converted(item: Item, folder: Path) -> tuple[Picture, Picture]:
    (image, labels), problems = mmwhs_records.convert(item, folder)
    assert problems == []
    return reading.read_image(image), reading.read_label_map(labels)


def slice_item(path: Path) -> Item:
    return Item("train_a", "CT", "CT/a", path, path, "train")


def test_the_middle_slice_without_a_place(tmp_path: Path, folder: Path) -> None:
    image, labels = packed_slice(0, SIDE)
    labels[..., 0] = labels[..., 2] = 4
    found, stored = converted(slice_item(record(tmp_path / "a.tfrecords", image, labels)), folder)
    assert np.array_equal(found.array.numpy(), image[None, None, ..., 1]) and found.spacing is None
    assert np.array_equal(stored.array.numpy()[0], np.where(labels[..., 1] == 5, 0, labels[..., 1]))


def test_one_label_slice_is_enough(tmp_path: Path, folder: Path) -> None:
    """PnP-AdaNet's page announces label maps of one slice, its files hold three."""
    image, labels = packed_slice(0, SIDE)
    _, stored = converted(slice_item(record(tmp_path / "a.tfrecords", image, labels[..., 1:2])), folder)
    assert stored.array.unique().tolist() == [0, 1, 2, 3, 4]


def test_a_test_volume_is_cut_and_turned_as_the_published_evaluation_does(tmp_path: Path, folder: Path) -> None:
    stored = np.random.default_rng(0).normal(size=(SIDE, SIDE, 5)).astype(np.float32)
    labels = (np.abs(stored) * 2).astype(np.uint8).clip(0, 4)
    for kind, array in (("image", stored), ("gth", labels)):
        volume(tmp_path / f"{kind}_ct_1003.nii.gz", array, np.eye(4))
    paths = [tmp_path / f"{kind}_ct_1003.nii.gz" for kind in ("image", "gth")]
    image, found = converted(Item("test_1003", "CT", "CT/1003", *paths, "test"), folder)
    for k in range(5):
        assert np.array_equal(image.array[0, k].numpy(), np.flip(np.flip(stored, 0), 1)[..., k])
        assert np.array_equal(found.array[k].numpy(), np.flip(np.flip(labels, 0), 1)[..., k])
    assert image.spacing is None and image.affine is None


def test_wherever_the_folders_lie(tmp_path: Path) -> None:
    root = write_records(tmp_path / "d")
    (root / "train_n_val" / "ct_train_tfs").rename(root / "training_ct")
    found = mmwhs_records.survey(root)
    assert [(c.domain, c.split, c.published, c.found) for c in found.counts] == [
        ("CT", "train", 8400, 3),
        ("CT", "validation", 1200, 3),
        ("CT", "test", 4, 1),
        ("MR", "train", 9600, 3),
        ("MR", "validation", 2400, 3),
        ("MR", "test", 4, 1),
    ]
    assert {p.kind for p in found.problems} == {"other number"}
    assert {item.patient for item in found.items if item.split == "test"} == {"CT/1003", "MR/1007"}


def test_every_deviation_of_the_layout(tmp_path: Path) -> None:
    root = write_records(tmp_path / "d")
    base = root / "train_n_val"
    (base / "ct_train_tfs").rename(root / "training_ct")
    (root / "training_mr").mkdir()
    for path in (base / "mr_val_tfs").iterdir():
        path.unlink()
    (base / "mr_val_tfs").rmdir()
    (base / "ct_val_tfs" / "notes.txt").write_text("x")
    (root / "test_ct_image&labels" / "gth_ct_1003.nii.gz").unlink()
    found = sorted({(p.kind, p.severity) for p in mmwhs_records.survey(root).problems})
    assert found == [
        ("doubled folder", "error"),
        ("missing folder", "error"),
        ("missing gth", "error"),
        ("no cases", "error"),
        ("other number", "warning"),
        ("stray file", "warning"),
    ]


def flipped(data: bytes, at: int) -> bytes:
    """One bit is another: a byte of a record may be anything, so that writing a fixed one may change nothing."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "the file is cut off"),
        (lambda path: path.write_bytes(flipped(path.read_bytes(), 400)), "has the checksum"),
        (lambda path: tfrecord(path, b"a", b"b"), "holds 2 records"),
        (lambda path: tfrecord(path, b"\x0b"), "no tf.train.Example"),
        (lambda path: tfrecord(path, example({"data_vol": [b"x"], "other": [1]})), "has no dsize_dim0, dsize_dim1"),
        (lambda path: record(path, *packed_slice(0, SIDE), dsize_dim2=[5]), "holds 3072 bytes"),
        (lambda path: record(path, *packed_slice(0, SIDE), data_vol=[7]), "holds 0 bytes"),
        (lambda path: record(path, *(a[..., :2] for a in packed_slice(0, SIDE))), "odd number of slices"),
        (lambda path: record(path, packed_slice(0, SIDE)[0] * np.nan, packed_slice(0, SIDE)[1]), "not finite"),
        (lambda path: record(path, packed_slice(0, SIDE)[0], packed_slice(0, SIDE)[1] / 2), "no whole numbers"),
        (lambda path: record(path, packed_slice(0, SIDE)[0], packed_slice(0, SIDE)[1] + 2), r"the value\(s\) 6, 7"),
        (lambda path: record(path, *packed_slice(0, 20)), "slices are 20×20; 16×16 is published"),
        (lambda path: record(path, packed_slice(0, SIDE)[0], packed_slice(0, 20)[1]), "both must share one grid"),
    ],
)
def test_damaged_records_are_findings(tmp_path: Path, folder: Path, damage, what: str) -> None:
    path = record(tmp_path / "a.tfrecords", *packed_slice(0, SIDE))
    damage(path)
    paths, problems = mmwhs_records.convert(slice_item(path), folder)
    assert paths == [] and not list(folder.rglob("*.nii.gz")) and {p.severity for p in problems} == {"error"}
    assert any(re.search(what, p.what) and p.file == path for p in problems), problems


def test_the_known_leak_is_of_nameless_mr_slices_beside_mr_tests(tmp_path: Path) -> None:
    items = mmwhs_records.survey(write_records(tmp_path / "d")).items
    (problem,) = mmwhs_records.known_leak(items)["MR"]
    assert "6 slices do not say which case they are of" in problem.what and "all 20 MR cases" in problem.what
    without = mmwhs_records.survey(write_records(tmp_path / "e", mr_tests=False)).items
    assert mmwhs_records.known_leak(without) == {}
    named = [
        i
        if i.split == "test"
        else Item(i.name, i.domain, "MR/1001", tmp_path / "mr_1001_s1.tfrecords", i.labels, i.split)
        for i in items
    ]
    assert mmwhs_records.known_leak(named) == {}
    assert torch.equal(mmwhs_records.LABELS(torch.tensor([5, 6])), torch.tensor([0, -1]))
