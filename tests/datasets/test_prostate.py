"""Prostate MRI of six sites: pairs by name, zones merged, slices brought to one size with every place kept in mm."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from public_packages import AFFINE, SITES, volume, write_prostate
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.preparing import prepare
from unshift.datasets.prostate import MEMBER
from unshift.errors import DataError

SIDE = 16


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(MEMBER, "side", SIDE)
    return write_prostate(tmp_path / "download", side=SIDE)


def kinds(problems, severity: str = "error") -> list[tuple[str, str]]:
    return sorted((p.kind, p.file.name) for p in problems if p.severity == severity)


def test_published_slices_are_384() -> None:
    assert MEMBER.side == 384


def test_from_download_to_dataset(download: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looks like the download of prostate"):
        recognize(download)
    done = prepare(MEMBER, download, tmp_path / "prostate")
    assert done.is_complete
    assert kinds(done.problems, "warning") == sorted(("other number", site) for site in SITES)
    assert [(c.domain, c.split, c.published, c.found) for c in done.counts] == [
        (site, None, published, 2) for site, published in zip(SITES, (30, 30, 19, 13, 12, 12), strict=True)
    ]
    dataset = open_dataset(tmp_path / "prostate")
    assert dataset.domains == SITES and recognize(tmp_path / "prostate") == ("prostate", {})
    case = dataset.cases("HK")[1]
    sample = dataset.read(case)
    assert (case.name, case.patient, case.split) == ("Case01", "HK/Case01", None)
    assert sample.image.shape == (1, 3, SIDE, SIDE)
    assert sample.spacing == pytest.approx((3.0, 0.6, 0.6))
    assert sample.label_map is not None and sample.label_map.unique().tolist() == [0, 1]
    stored = nib.load(download / "HK" / "Case01_segmentation.nii.gz").get_fdata()
    assert np.array_equal(sample.label_map.numpy(), stored.transpose() > 0)
    kept = tmp_path / "prostate" / "HK" / "images" / "Case01.nii.gz"
    assert kept.read_bytes() == (download / "HK" / "Case01.nii.gz").read_bytes()


def test_names_of_the_other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMBER, "side", SIDE)
    download = write_prostate(tmp_path / "d", side=SIDE, sites=("ISBI", "ISBI_1.5", "I2CVB", "UCL", "BIDMC", "HK"))
    path = download / "ISBI" / "Case00_segmentation.nii.gz"
    path.rename(path.with_name("Case00_Segmentation.nii.gz"))
    (download / "Domain1" / "image").mkdir(parents=True)
    survey = MEMBER.survey(download)
    assert kinds(survey.problems) == [] and not kinds(survey.problems, "warning").count(("extra folder", "Domain1"))
    assert [c.found for c in survey.counts] == [2] * 6
    assert {item.domain for item in survey.items} == set(SITES)
    (download / "RUNMC").mkdir()
    assert kinds(MEMBER.survey(download).problems) == [("doubled site", "RUNMC")]


def test_resampling_in_plane_keeps_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMBER, "side", 24)
    download = write_prostate(tmp_path / "d", side=SIDE, cases=1)
    # a volume whose value is its place along the file's first axis, in mm
    x = np.arange(SIDE, dtype=np.float32)[:, None, None] * np.ones((1, SIDE, 3), np.float32)
    volume(download / "UCL" / "Case00.nii.gz", AFFINE[0, 0] * x + AFFINE[0, 3])
    done = prepare(MEMBER, download, tmp_path / "p")
    assert done.is_complete and ("resampled", "UCL") in kinds(done.problems, "warning")
    dataset = open_dataset(tmp_path / "p")
    sample = dataset.read(dataset.cases("UCL")[0])
    assert sample.space == (3, 24, 24) and sample.affine is not None and sample.label_map is not None
    assert sample.spacing == pytest.approx((3.0, 0.4, 0.4))
    places = sample.affine @ torch.tensor([1.0, 5.0, 11.0, 1.0], dtype=torch.float64)
    assert float(sample.image[0, 1, 5, 11]) == pytest.approx(float(places[0]), abs=1e-3)
    before = nib.load(download / "UCL" / "Case00_segmentation.nii.gz").get_fdata() > 0
    share = float(sample.label_map.float().mean()), float(before.mean())
    assert share[0] == pytest.approx(share[1], rel=0.25)
    corner = sample.affine @ torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    original = AFFINE[:, [2, 1, 0, 3]] @ np.array([-0.5, -0.5, -0.5, 1.0])
    assert corner.numpy() == pytest.approx(original, abs=1e-4)


def test_resampled_volumes_are_one_warning_a_site(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MEMBER, "side", 24)
    for part in ("", "_segmentation"):
        volume(download / "UCL" / f"Case00{part}.nii.gz", np.ones((SIDE + 4, SIDE, 3), np.uint8))
    for _ in range(2):
        done = prepare(MEMBER, download, tmp_path / "p")
        said = {p.file.name: p.what for p in done.problems if p.kind == "resampled"}
        assert sorted(said) == sorted(SITES)
        size = f"{SIDE}×{SIDE}"
        rest = "they were resampled to 24×24, the size of the published volumes"
        assert said["HK"] == f"slices are {size} (2 volumes); {rest}"
        assert said["UCL"] == f"slices are {size} (1 volume), {SIDE}×{SIDE + 4} (1 volume); {rest}"


def test_every_deviation_is_named_at_once(download: Path, tmp_path: Path) -> None:
    (download / "BMC" / "Case00_segmentation.nii.gz").unlink()
    (download / "UCL" / "Case01.nii.gz").unlink()
    volume(download / "HK" / "Case00_segmentation.nii.gz", np.full((SIDE, SIDE, 3), 3, np.uint8))
    volume(download / "HK" / "Case01_segmentation.nii.gz", np.zeros((SIDE, SIDE, 4), np.uint8))
    volume(download / "BIDMC" / "Case00.nii.gz", np.zeros((3, SIDE, SIDE), np.int16))
    volume(download / "BIDMC" / "Case00_segmentation.nii.gz", np.zeros((3, SIDE, SIDE), np.uint8))
    volume(download / "BIDMC" / "Case01.nii.gz", np.zeros((SIDE, SIDE), np.int16))
    (download / "RUNMC" / "Case00.nii.gz").write_bytes(b"nothing")
    (download / "Seventh").mkdir()
    (download / "I2CVB").mkdir()
    done = prepare(MEMBER, download, tmp_path / "prostate")
    assert not done.is_complete
    assert kinds(done.problems) == [
        ("doubled site", "I2CVB"),
        ("missing image", "Case01_segmentation.nii.gz"),
        ("missing label map", "Case00.nii.gz"),
        ("size", "Case00.nii.gz"),
        ("size", "Case01.nii.gz"),
        ("size", "Case01_segmentation.nii.gz"),
        ("unusable file", "Case00.nii.gz"),
        ("wrong label", "Case00_segmentation.nii.gz"),
    ]
    assert ("extra folder", "Seventh") in kinds(done.problems, "warning")


def test_a_missing_site_is_an_error(download: Path) -> None:
    (download / "BMC").rename(download.parent / "BMC")
    (problem,) = (p for p in MEMBER.survey(download).problems if p.severity == "error")
    assert (problem.kind, problem.what) == ("missing site", "no folder BMC or ISBI_1.5; one is required")


def test_plain_nifti_is_compressed(download: Path, tmp_path: Path) -> None:
    for name in ("Case00", "Case00_segmentation"):
        path = download / "HK" / f"{name}.nii.gz"
        nib.save(nib.load(path), path.with_suffix(""))
        path.unlink()
    assert prepare(MEMBER, download, tmp_path / "p").is_complete
    dataset = open_dataset(tmp_path / "p")
    assert dataset.read(dataset.cases("HK")[0]).image.shape == (1, 3, SIDE, SIDE)
