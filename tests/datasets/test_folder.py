"""A folder of one's own: what is declared is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unshift.config import parse
from unshift.datasets.folder import MEMBER
from unshift.errors import DataError, UnknownName


def opened(root: Path | None, **settings):
    return MEMBER(parse(MEMBER.Config, settings, where="test"), root)


def test_a_pair_is_read_on_one_grid(pairs, write) -> None:
    root = pairs({"my clinic ü": ["first image"]})
    (case,) = (dataset := opened(root)).cases("my clinic ü")
    sample = dataset.read(case)
    assert (sample.case, sample.patient, sample.domain) == ("first image", "my clinic ü/first image", "my clinic ü")
    assert sample.image.dtype == torch.float32 and sample.image.min() >= 0 and sample.image.max() <= 1
    assert sample.label_map is not None and sample.label_map.dtype == torch.int64
    assert sample.spacing is None and sample.affine is None and sample.field_of_view is None
    assert sample.path == root / "my clinic ü" / "images" / "first image.png"
    assert len(dataset.fingerprint(case)) == 64


def test_declared_values_classes_and_spacing(pairs) -> None:
    root = pairs({"A": ["1"]}, labels=(0, 128, 255))
    settings = {"classes": ["background", "cup", "rim"], "values": {"128": 2, "255": 1}, "spacing": [0.2, 0.3]}
    sample = (dataset := opened(root, **settings)).read(dataset.cases("A")[0])
    assert sample.label_map is not None
    assert sample.label_map.flatten()[:3].tolist() == [0, 2, 1]
    assert sample.spacing == (0.2, 0.3)


def test_no_root_and_no_domain_show_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)no folder was given; its root \(--data\) is required.*<root>/<domain>/images"
    ):
        opened(None)
    with pytest.raises(DataError, match=r"(?s)gone: no such folder.*<root>/<domain>/images"):
        opened(tmp_path / "gone")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"(?s)holds images; a domain's folder with images in it is required.*<root>"):
        opened(tmp_path).cases("A")


def test_a_missing_domain_is_named(pairs) -> None:
    root = pairs({"A": ["1"]})
    with pytest.raises(UnknownName, match="unknown domain 'AA'"):
        opened(root, domains=["AA"]).cases("A")


def test_a_pixel_of_another_value_names_its_file(pairs, write) -> None:
    root = pairs({"A": ["1"]})
    write("A/masks/1.png", np.full((8, 10), 17))
    with pytest.raises(DataError, match=r"A/masks/1.png: holds 1 value\(s\) outside the task \(17\)"):
        (dataset := opened(root)).read_label_map(dataset.cases("A")[0])
