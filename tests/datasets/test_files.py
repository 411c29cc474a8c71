"""Reading through the formats: axes, channels, geometry, fields of view."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from unshift.config import parse
from unshift.datasets.folder import MEMBER
from unshift.datasets.polyp import MEMBER as POLYP
from unshift.datasets.spinalcord import MEMBER as SPINAL
from unshift.errors import DataError, ShapeMismatch


def opened(root: Path, **settings):
    return MEMBER(parse(MEMBER.Config, settings, where="test"), root)


def first(dataset):
    return dataset.cases(dataset.domains[0])[0]


def nifti(root: Path, shape: tuple[int, ...], spacing: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Path:
    for part, dtype in (("images", np.float32), ("masks", np.uint8)):
        (root / "A" / part).mkdir(parents=True, exist_ok=True)
        array = (np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
        nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), root / "A" / part / "v.nii.gz")
    return root


def test_the_field_of_view_is_read_and_must_fit(pairs, write) -> None:
    root = pairs({"A": ["1"]})
    valid = np.zeros((8, 10))
    valid[2:, :] = 255
    write("A/fov/1.png", valid)
    dataset = opened(root)
    sample = dataset.read(first(dataset))
    assert sample.field_of_view is not None and sample.field_of_view.dtype == torch.bool
    assert sample.field_of_view.sum() == 60
    write("A/fov/1.png", np.zeros((8, 9)))
    with pytest.raises(ShapeMismatch, match=r"A/fov/1.png: field of view is 8×9 but image .*A/images/1.png is 8×10"):
        dataset.read_image(first(dataset))


def test_another_size_names_both_files(pairs, write) -> None:
    root = pairs({"A": ["1"]})
    write("A/masks/1.png", np.zeros((8, 11)))
    with pytest.raises(ShapeMismatch, match=r"A/masks/1.png: label map is 8×11 but image .*A/images/1.png is 8×10"):
        (dataset := opened(root)).read(first(dataset))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_color_become_the_tasks_channels(pairs, channels: int) -> None:
    root = pairs({"color": ["1"]}, shape=(8, 10, 3))
    pairs({"grey": ["1"]}, shape=(8, 10))
    dataset = opened(root, channels=channels)
    shapes = {dataset.read_image(dataset.cases(domain)[0]).image.shape for domain in ("color", "grey")}
    assert shapes == {(channels, 8, 10)}


def test_volumes_need_a_task_of_three_axes(tmp_path: Path) -> None:
    root = nifti(tmp_path, (4, 5, 6))
    dataset = opened(root, channels=1, spatial_dims=3)
    sample = dataset.read(first(dataset))
    assert (sample.space, sample.spacing) == ((6, 5, 4), (3.0, 2.0, 1.0))
    with pytest.raises(
        DataError, match=r"v.nii.gz: has 3 spatial axes \(6×5×4\); the task has 2\. Set dataset\.spatial_dims: 3, or"
    ):
        (flat := opened(root, channels=1)).read_image(first(flat))


def test_a_remedy_names_the_key_that_the_dataset_has(tmp_path: Path) -> None:
    for member, remedy in ((SPINAL, "Set dataset.dimensions: 3, or convert"), (POLYP, "the task has 2. Convert the f")):
        root = tmp_path / member.__name__
        nifti(root, (4, 5, 6))
        for domain in member.published:
            shutil.copytree(root / "A", root / domain)
        for volume in root.rglob("v.nii.gz"):
            volume.rename(volume.with_name("sub-1.nii.gz"))
        dataset = member(parse(member.Config, {}, where="test"), root)
        with pytest.raises(DataError) as refused:
            dataset.read_image(first(dataset))
        assert remedy in str(refused.value)


def test_a_volume_of_one_slice_is_a_picture(tmp_path: Path) -> None:
    dataset = opened(nifti(tmp_path, (4, 5, 1)), channels=1)
    sample = dataset.read(first(dataset))
    assert (sample.space, sample.spacing) == ((5, 4), (2.0, 1.0))


def test_a_declared_spacing_replaces_the_files_and_scales_its_affine(tmp_path: Path) -> None:
    dataset = opened(nifti(tmp_path, (4, 5, 6)), channels=1, spatial_dims=3, spacing=[30.0, 2.0, 0.5])
    sample = dataset.read_image(first(dataset))
    assert sample.spacing == (30.0, 2.0, 0.5)
    assert sample.affine is not None
    assert sample.affine[:3, :3].norm(dim=0).tolist() == pytest.approx([30.0, 2.0, 0.5])


def test_the_folder_is_listed_once(pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(pairs({"A": ["1"]}))
    assert dataset.scan is dataset.scan
    assert dataset.cases("A") == dataset.cases("A")
