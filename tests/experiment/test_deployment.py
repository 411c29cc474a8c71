"""Bundles on loose files; predictions of any origin against a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from unshift.errors import ConfigError, DataError, UnshiftError
from unshift.experiment import deployment
from unshift.experiment.deployment import evaluate_folder, predict_files
from unshift.experiment.run import Result
from unshift.sample import Task


@pytest.fixture(scope="module")
def bundle(finished: Result) -> Path:
    return next((finished.folder / "bundles").rglob("baseline"))


def picture(path: Path, shape: tuple[int, ...] = (30, 44)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)).save(path)
    return path


def test_each_image_keeps_its_grid_and_bad_ones_are_named(bundle: Path, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "ü 1.png")
    picture(tmp_path / "in" / "b.jpg", (51, 33))
    (tmp_path / "in" / "c.png").write_bytes(b"nothing")
    (tmp_path / "in" / ".hidden").write_bytes(b"nothing")
    found = dict(predict_files(bundle, [tmp_path / "in"], tmp_path / "out", probabilities=True))
    assert {p.name for p in found} == {"ü 1.png", "b.jpg", "c.png"}
    error = found[tmp_path / "in" / "c.png"]
    assert isinstance(error, UnshiftError) and "c.png" in str(error)
    assert np.asarray(Image.open(tmp_path / "out" / "b.png")).shape == (51, 33)
    probabilities = np.load(tmp_path / "out" / "b.npy")
    assert probabilities.shape == (2, 51, 33)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(0), np.asarray(Image.open(tmp_path / "out" / "b.png")))


def test_names_may_not_collide(bundle: Path, tmp_path: Path) -> None:
    files = [picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.png")]
    with pytest.raises(DataError, match="share the names x"):
        list(predict_files(bundle, files, tmp_path / "out"))


def test_missing_image(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.png: no such file"):
        list(predict_files(bundle, [tmp_path / "none.png"], tmp_path / "out"))
    files = [tmp_path / "none.png", picture(tmp_path / "a.png")]
    found = dict(predict_files(bundle, files, tmp_path / "out"))
    assert "none.png: no such file" in str(found[files[0]]) and found[files[1]] == tmp_path / "out" / "a.png"


def test_a_color_image_becomes_grey_as_in_training(bundle: Path, tmp_path: Path) -> None:
    (found,) = dict(predict_files(bundle, [picture(tmp_path / "c.png", (20, 20, 3))], tmp_path / "out")).values()
    assert isinstance(found, Path)
    picture(tmp_path / "v.png")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a file; --output names the folder"):
        list(predict_files(bundle, [tmp_path / "v.png"], tmp_path / "file"))


def test_a_volume_for_a_bundle_of_pictures_and_the_other_way_round(bundle: Path, tmp_path: Path) -> None:
    volume = tmp_path / "v.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), volume)
    (refused,) = dict(predict_files(bundle, [volume], tmp_path / "out")).values()
    assert "v.nii.gz: 3-D image (6×5×4); the bundle was trained on 2-D images. Save the slices" in str(refused)
    with pytest.raises(DataError, match=r"2-D image \(30×44\).* on 3-D images\. Give the whole volume"):
        deployment._sample(picture(tmp_path / "p.png"), "p", Task(1, ("background", "organ"), spatial_dims=3))


def test_predictions_in_grey_levels_are_refused(tmp_path: Path) -> None:
    for part, value in (("images", 90), ("masks", 255)):
        (tmp_path / "set" / "a" / part).mkdir(parents=True)
        array = np.zeros((20, 20), np.uint8)
        array[5:10] = value
        Image.fromarray(array).save(tmp_path / "set" / "a" / part / "1.png")
    (tmp_path / "p" / "a").mkdir(parents=True)
    shutil.copy(tmp_path / "set" / "a" / "masks" / "1.png", tmp_path / "p" / "a" / "1.png")
    with pytest.raises(DataError, match=r"values \[255\]; a predicted label map holds labels 0 … 1"):
        evaluate_folder(tmp_path / "p", tmp_path / "set", tmp_path / "s.parquet")
    with pytest.raises(DataError, match="no folder named after a domain"):
        evaluate_folder(tmp_path / "set" / "a", tmp_path / "set", tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()
