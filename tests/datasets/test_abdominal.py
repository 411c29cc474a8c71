"""BTCV and CHAOS: two downloads below one folder, one task, axial slices with every place kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from public_packages import BTCV, GREY, SHAPES, TURNS, organs, save, scan, volume, write_abdomen
from unshift.datasets.abdominal import CT, IDS, MEMBER, MR, TESTS
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.preparing import prepare
from unshift.errors import DataError

CHAOS = Path("CHAOS_Train_Sets/Train_Sets/MR")


def kinds(done, severity: str = "error") -> list[tuple[str, str]]:
    return sorted((p.kind, p.file.name) for p in done.problems if p.severity == severity)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    return write_abdomen(tmp_path / "download")


def test_published_lists() -> None:
    assert {domain: len(ids) for domain, ids in IDS.items()} == {CT: 30, MR: 20}
    assert all(set(TESTS[domain]) < set(IDS[domain]) for domain in IDS)
    assert TESTS == {CT: (1, 9, 30, 32, 33, 39), MR: (1, 13, 32, 38)}


def test_from_download_to_dataset(download: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looks like the download of abdominal"):
        recognize(download)
    (download / "CHAOS_Test_Sets" / "Test_Sets" / "MR" / "4").mkdir(parents=True)
    (download / "RawData" / "Testing" / "img").mkdir(parents=True)
    done = prepare(MEMBER, download, tmp_path / "p")
    assert done.is_complete, kinds(done)
    assert [(c.domain, c.split, c.published, c.found) for c in done.counts] == [
        (CT, "train", 24, 2),
        (CT, "test", 6, 1),
        (MR, "train", 16, 2),
        (MR, "test", 4, 1),
    ]
    dataset = open_dataset(tmp_path / "p")
    assert recognize(tmp_path / "p") == ("abdominal", {}) and dataset.domains == (CT, MR)
    assert [(c.name, c.patient, c.split) for c in dataset.cases(MR)] == [
        ("0001", "CHAOS-MR/1", "test"),
        ("0002", "CHAOS-MR/2", "train"),
        ("0003", "CHAOS-MR/3", "train"),
    ]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "p").rglob("*.nii.gz")}
    again = prepare(MEMBER, download, tmp_path / "p")
    assert again.converted == 0 and before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.parametrize("domain", ["CT", "MR"])
def test_both_modalities_show_axial_slices_with_every_place_kept(domain: str, download: Path, tmp_path: Path) -> None:
    prepare(MEMBER, download, tmp_path / "p")
    dataset = open_dataset(tmp_path / "p")
    sample = dataset.read(dataset.cases({"CT": CT, "MR": MR}[domain])[0])
    assert sample.affine is not None and sample.label_map is not None
    affine = sample.affine.numpy()
    assert nib.aff2axcodes(affine) == ("S", "P", "L") and sample.spacing == pytest.approx((5.0, 4.0, 4.0))
    indices = np.stack(np.meshgrid(*map(np.arange, sample.space), indexing="ij"), axis=-1)
    points = indices @ affine[:3, :3].T + affine[:3, 3]
    expected = organs(points)
    assert np.array_equal(sample.label_map.numpy(), np.where(expected == 5, 0, expected))
    array, _ = scan(domain, {"CT": 1, "MR": 51}[domain])
    inverse = np.linalg.inv(TURNS[domain])
    places = (points @ inverse[:3, :3].T + inverse[:3, 3]).round().astype(int)
    stored = array if domain == "CT" else np.clip(array, 0, None)
    assert np.array_equal(sample.image[0].numpy(), stored[tuple(np.moveaxis(places, -1, 0))])


def test_mr_as_nifti(tmp_path: Path) -> None:
    """Pairs that others made of the series, with labels or grey levels."""
    download = write_abdomen(tmp_path / "d", cases={"CT": (1, 2)})
    for case in (1, 2):
        array, labels = scan("MR", 50 + case)
        values = np.where(labels == 5, 0, labels).astype(np.uint8) if case == 1 else GREY[labels]
        volume(download / "niis" / "T2SPIR" / f"image_{case}.nii.gz", array, TURNS["MR"])
        volume(download / "niis" / "T2SPIR" / f"label_{case}.nii.gz", values, TURNS["MR"])
    assert MEMBER.is_download(download)
    assert prepare(MEMBER, download, tmp_path / "p").is_complete
    dataset = open_dataset(tmp_path / "p")
    maps = [dataset.read(case).label_map for case in dataset.cases(MR)]
    assert all(m is not None and m.unique().tolist() == [0, 1, 2, 3, 4] for m in maps)
    both = write_abdomen(download, cases={"MR": (1, 2)})
    found = MEMBER.survey(both)
    assert all(item.image.name == "DICOM_anon" for item in found.items if item.domain == MR)
    assert ("extra folder", "T2SPIR") in kinds(found, "warning")


def test_every_deviation_is_named_at_once(download: Path, tmp_path: Path) -> None:
    training = download / "RawData" / "Training"
    (training / "label" / "label0002.nii.gz").unlink()
    volume(training / "label" / "label0003.nii.gz", np.full(SHAPES["CT"], 14, np.uint8), TURNS["CT"])
    volume(training / "img" / "img0005.nii.gz", scan("CT", 5)[0], TURNS["CT"])
    volume(training / "label" / "label0005.nii.gz", np.zeros((4, 4, 4), np.uint8), TURNS["CT"])
    volume(training / "img" / "img0050.nii.gz", scan("CT", 6)[0], TURNS["CT"])
    volume(training / "label" / "label0050.nii.gz", BTCV[scan("CT", 6)[1]], TURNS["CT"])
    mr = download / CHAOS
    (mr / "1" / "T2SPIR" / "Ground" / "IMG-0002-00004.png").unlink()
    for part, suffix in (("DICOM_anon", "dcm"), ("Ground", "png")):
        (mr / "2" / "T2SPIR" / part / f"IMG-0002-00006.{suffix}").unlink()
    save(mr / "3" / "T2SPIR" / "Ground" / "IMG-0002-00001.png", np.full((16, 16), 100, np.uint8))
    (mr / "5" / "T2SPIR" / "DICOM_anon").mkdir(parents=True)
    (mr / "notes").mkdir()
    shutil.copy(training / "img" / "img0001.nii.gz", training / "img" / "img1.nii.gz")
    shutil.copy(training / "img" / "img0001.nii.gz", training / "img" / "scan0001.nii.gz")
    done = prepare(MEMBER, download, tmp_path / "p")
    assert not done.is_complete
    assert kinds(done) == [
        ("doubled file", "img1.nii.gz"),
        ("missing folder", "Ground"),
        ("missing label map", "img0002.nii.gz"),
        ("other number of slices", "Ground"),
        ("size", "label0005.nii.gz"),
        ("unusable file", "DICOM_anon"),
        ("wrong label", "Ground"),
        ("wrong label", "label0003.nii.gz"),
    ]
    warned = kinds(done, "warning")
    assert {("other cases", "img"), ("missing test case", "MR"), ("extra folder", "notes")} <= set(warned)
    assert ("stray file", "scan0001.nii.gz") in warned
    (lacking,) = (p.what for p in done.problems if p.kind == "other number of slices")
    assert lacking.endswith("; without partner: IMG-0002-00004.dcm")
    (gap,) = (p.what for p in done.problems if p.kind == "unusable file")
    assert "10 mm apart, others 5 mm" in gap


def test_a_changed_slice_is_prepared_again(download: Path, tmp_path: Path) -> None:
    prepare(MEMBER, download, tmp_path / "p")
    save(download / CHAOS / "2" / "T2SPIR" / "Ground" / "IMG-0002-00005.png", np.zeros((16, 16), np.uint8))
    assert prepare(MEMBER, download, tmp_path / "p").converted == 1


def test_one_download_of_two_and_none(download: Path, tmp_path: Path) -> None:
    shutil.rmtree(download / "RawData")
    (problem,) = (p for p in MEMBER.survey(download).problems if p.severity == "error")
    assert problem.kind == "missing folder" and "img (with label beside it)" in problem.what
    shutil.copytree(download / CHAOS, download / "again" / "MR")
    assert ("doubled folder", "MR") in kinds(MEMBER.survey(download))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"(?s)holds no folder; .*Expected:.*img<id>.nii.gz.*T2SPIR"):
        MEMBER.survey(tmp_path / "none")
    with pytest.raises(DataError, match="no such folder"):
        MEMBER.survey(tmp_path / "gone")
