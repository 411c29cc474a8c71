"""MM-WHS: NIfTI pairs turned to coronal slices with every place kept, packed slices, and leaks refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from public_packages import TURNS, organs, packed_slice, record, volume, write_mmwhs, write_records
from unshift.datasets import mmwhs_records
from unshift.datasets.cardiac import MEMBER, TESTS
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.preparing import Preparation, prepare
from unshift.errors import DataError


def kinds(done, severity: str = "error") -> list[tuple[str, str]]:
    return sorted((p.kind, p.file.name) for p in done.problems if p.severity == severity)


def whole(path: Path) -> nib.Nifti1Image:
    image = nib.load(path)
    return nib.Nifti1Image(np.asarray(image.dataobj), image.affine)


def test_from_nifti_to_dataset(tmp_path: Path) -> None:
    download = write_mmwhs(tmp_path / "MM-WHS 2017" / "d").parent
    with pytest.raises(DataError, match="looks like the download of cardiac"):
        recognize(download)
    done = prepare(MEMBER, download, tmp_path / "p")
    assert done.is_complete
    assert [(c.domain, c.split, c.published, c.found) for c in done.counts] == [
        ("CT", "train", 16, 2),
        ("CT", "test", 4, 1),
        ("MR", "train", 16, 2),
        ("MR", "test", 4, 1),
    ]
    assert set(kinds(done, "warning")) == {
        (kind, f"{modality}_train") for kind in ("other number", "missing test case") for modality in ("ct", "mr")
    }
    dataset = open_dataset(tmp_path / "p")
    assert recognize(tmp_path / "p") == ("cardiac", {}) and dataset.domains == ("CT", "MR")
    assert "TEST CASES" not in dataset.card.defects
    assert [(c.name, c.patient, c.split) for c in dataset.cases("MR")] == [
        ("1001", "MR/1001", "train"),
        ("1002", "MR/1002", "train"),
        ("1007", "MR/1007", "test"),
    ]


@pytest.mark.parametrize("domain", ["CT", "MR"])
def test_both_modalities_show_coronal_slices_with_every_place_kept(domain: str, tmp_path: Path) -> None:
    prepare(MEMBER, write_mmwhs(tmp_path / "d"), tmp_path / "p")
    dataset = open_dataset(tmp_path / "p")
    case = dataset.cases(domain)[0]
    sample = dataset.read(case)
    assert sample.affine is not None and sample.label_map is not None
    assert nib.aff2axcodes(sample.affine.numpy()) == ("P", "I", "L")
    sizes = np.linalg.norm(TURNS[domain][:3, :3], axis=0)
    assert sorted(sample.spacing or ()) == pytest.approx(sorted(sizes))
    indices = np.stack(np.meshgrid(*map(np.arange, sample.space), indexing="ij"), axis=-1)
    affine = sample.affine.numpy()
    expected = organs(indices @ affine[:3, :3].T + affine[:3, 3])
    assert np.array_equal(sample.label_map.numpy(), np.where(expected == 5, 0, expected))
    name = f"{domain.lower()}_train"
    stored = nib.load(tmp_path / "d" / name / f"{name}_1001_image.nii.gz")
    index = (3, 5, 7)
    place = np.linalg.inv(stored.affine) @ affine @ np.array([*index, 1.0])
    assert float(sample.image[0][index]) == stored.get_fdata()[tuple(place[:3].round().astype(int))]


def test_every_deviation_of_nifti_is_named_at_once(tmp_path: Path) -> None:
    download = write_mmwhs(tmp_path / "d")
    ct, mr = download / "ct_train", download / "mr_train"
    (ct / "ct_train_1001_label.nii.gz").unlink()
    (ct / "ct_train_1002_image.nii.gz").write_bytes((ct / "ct_train_1002_image.nii.gz").read_bytes()[:500])
    label = whole(ct / "ct_train_1003_label.nii.gz")
    nib.save(label, ct / "ct_train_1003_label.nii")
    values = np.asarray(label.dataobj).copy()
    values[0, 0, 0] = 421
    volume(mr / "mr_train_1001_label.nii.gz", values, label.affine)
    volume(mr / "mr_train_1002_label.nii.gz", np.full((16, 12, 16), 77, np.int16), TURNS["MR"])
    (mr / "readme.nii.gz").write_bytes(b"x")
    done = prepare(MEMBER, download, tmp_path / "p")
    assert not done.is_complete
    assert kinds(done) == [
        ("doubled file", "ct_train_1003_label.nii"),
        ("missing label", "ct_train_1001_image.nii.gz"),
        ("missing label", "ct_train_1003_image.nii.gz"),
        ("size", "mr_train_1001_label.nii.gz"),
        ("unusable file", "ct_train_1002_image.nii.gz"),
        ("wrong label", "mr_train_1002_label.nii.gz"),
    ]
    assert ("stray file", "readme.nii.gz") in kinds(done, "warning")
    with pytest.raises(DataError, match="was not prepared to its end; cases.csv is required"):
        len(open_dataset(tmp_path / "p").domains)


def test_the_slip_of_one_label_is_read_and_a_volume_without_a_place_is_not(tmp_path: Path) -> None:
    download = write_mmwhs(tmp_path / "d", cases={"CT": (1001, 1002), "MR": (1001, 1002)})
    path = download / "mr_train" / "mr_train_1001_label.nii.gz"
    label = whole(path)
    values = np.asarray(label.dataobj)
    assert (values == 420).any()
    volume(path, np.where(values == 420, 421, values), label.affine)
    placed = whole(download / "ct_train" / "ct_train_1001_image.nii.gz")
    placed.header["sform_code"] = placed.header["qform_code"] = 0
    placed.set_sform(None, code=0)
    placed.set_qform(None, code=0)
    nib.save(placed, download / "ct_train" / "ct_train_1001_image.nii.gz")
    done = prepare(MEMBER, download, tmp_path / "p")
    assert kinds(done) == [("no orientation", "ct_train_1001_image.nii.gz")]
    stored = nib.load(tmp_path / "p" / "MR" / "masks" / "1001.nii.gz").get_fdata()
    assert (stored == 2).sum() == (values == 420).sum()


def test_a_missing_modality_and_another_folder(tmp_path: Path) -> None:
    download = write_mmwhs(tmp_path / "d")
    shutil.rmtree(download / "mr_train")
    assert [p.what for p in MEMBER.survey(download).problems if p.severity == "error"] == [
        "no folder mr_train; one is required"
    ]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mmwhs.zip").write_bytes(b"x")
    with pytest.raises(DataError, match=r"(?s)Unpack mmwhs.zip first.*ct,mr}_train_<id>_image.*_train_tfs"):
        MEMBER.survey(tmp_path / "other")
    with pytest.raises(DataError, match="no such folder"):
        MEMBER.survey(tmp_path / "gone")


def test_the_same_volume_under_two_numbers_is_a_leak(tmp_path: Path) -> None:
    download = write_mmwhs(tmp_path / "d")
    ct = download / "ct_train"
    for kind in ("image", "label"):
        shutil.copy(ct / f"ct_train_1003_{kind}.nii.gz", ct / f"ct_train_1020_{kind}.nii.gz")
    done = prepare(MEMBER, download, tmp_path / "p")
    assert kinds(done) == [("leak", "ct_train_1003_image.nii.gz")] and not done.is_complete
    (problem,) = (p for p in done.problems if p.kind == "leak")
    assert "slices with structures are, number by number, those of 1020 (train)" in problem.what
    again = prepare(MEMBER, download, tmp_path / "p", accept_leak=True)
    assert again.is_complete and again.converted == 0, "digests are in the journal"
    assert open_dataset(tmp_path / "p").card.defects.startswith("TEST CASES ARE ALSO TRAINED ON in CT, which")


# ------------------------------------------------------------------------------------------------- packed slices


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mmwhs_records, "SIDE", 16)
    return write_records(tmp_path / "d" / "PnpAda_release_data")


def accepted(download: Path, output: Path) -> Preparation:
    done = prepare(MEMBER, download, output, accept_leak=True)
    assert done.is_complete, kinds(done)
    return done


def test_packed_slices_are_refused_for_their_leak_until_it_is_accepted(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looks like the download of cardiac"):
        recognize(packed.parent)
    refused = prepare(MEMBER, packed.parent, tmp_path / "p")
    assert kinds(refused) == [("leak", "mr_train_tfs")] and not refused.is_complete
    with pytest.raises(DataError, match="written when the preparation is complete"):
        open_dataset("cardiac", tmp_path / "p").cases("MR")
    done = accepted(packed.parent, tmp_path / "p")
    assert done.converted == 0 and ("leak", "mr_train_tfs") in kinds(done, "warning")
    dataset = open_dataset(tmp_path / "p")
    assert dataset.card.defects.startswith("TEST CASES ARE ALSO TRAINED ON in MR, which was accepted")
    assert MEMBER.card.defects not in ("", dataset.card.defects), "the class keeps its card"
    assert [p.kind for p in dataset.scan.problems if p.severity == "warning"] == ["leak"]  # type: ignore[attr-defined]
    with (tmp_path / "p" / "CT" / "cases.csv").open() as stream:
        assert "leak" not in csv.DictReader(stream).fieldnames  # type: ignore[operator]
    again = prepare(MEMBER, packed.parent, tmp_path / "p")
    assert not again.is_complete, "a leak is accepted for one call"


def test_nifti_beside_packed_slices_is_read_and_has_no_leak(packed: Path, tmp_path: Path) -> None:
    """What the leak's remedy says to do."""
    (leak,) = (p for p in prepare(MEMBER, packed.parent, tmp_path / "p").problems if p.kind == "leak")
    assert leak.remedy.startswith("Prepare MM-WHS from its NIfTI release, which has no leak.")
    write_mmwhs(packed.parent / "NIfTI")
    done = prepare(MEMBER, packed.parent, tmp_path / "p")
    assert done.is_complete and done.counts == MEMBER.survey(packed.parent / "NIfTI").counts
    warned = [p for p in done.problems if p.kind == "extra folder"]
    assert sorted(p.file.name for p in warned) == ["ct_train_tfs", "ct_val_tfs", "mr_train_tfs", "mr_val_tfs"]
    assert all(
        f"the NIfTI release in {packed.parent / 'NIfTI' / 'ct_train'}, which is read instead" in p.what for p in warned
    )
    assert [c.patient for c in open_dataset(tmp_path / "p").cases("CT")] == ["CT/1001", "CT/1002", "CT/1003"]


def test_packed_slices_and_volumes_are_cases_of_one_task(packed: Path, tmp_path: Path) -> None:
    accepted(packed, tmp_path / "p")
    dataset = open_dataset(tmp_path / "p")
    splits = {split: [c for c in dataset.cases("MR") if c.split == split] for split in ("train", "validation", "test")}
    assert {split: len(cases) for split, cases in splits.items()} == {"train": 3, "validation": 3, "test": 1}
    slice_, whole_volume = dataset.read(splits["train"][0]), dataset.read(splits["test"][0])
    assert (slice_.space, whole_volume.space) == ((1, 16, 16), (4, 16, 16))
    assert slice_.spacing is None and whole_volume.spacing is None
    expected = np.where((labels := packed_slice(0, 16)[1][..., 1]) == 5, 0, labels)
    for sample in (slice_, whole_volume):
        assert sample.label_map is not None
        assert all(torch.equal(part, torch.from_numpy(expected).long()) for part in sample.label_map), "same side up"


def test_without_the_mr_tests_nothing_leaks(tmp_path: Path, packed: Path) -> None:
    shutil.rmtree(packed / "test_mr_image&labels")
    done = prepare(MEMBER, packed, tmp_path / "p")
    assert kinds(done) == [("missing folder", "PnpAda_release_data")]


def test_the_same_case_and_the_same_slice_in_two_splits(packed: Path, tmp_path: Path) -> None:
    ct = packed / "train_n_val"
    record(ct / "ct_val_tfs" / "ct_1003_slice7.tfrecords", *packed_slice(7, 16))
    stored = nib.load(packed / "test_ct_image&labels" / "image_ct_1003.nii.gz").get_fdata(dtype=np.float32)
    image, labels = packed_slice(9, 16)
    image[..., 1] = stored[::-1, ::-1, 2]  # an augmentation that changed nothing
    record(ct / "ct_train_tfs" / "ct_train_slice99.tfrecords", image, labels)
    done = prepare(MEMBER, packed, tmp_path / "p")
    found = {p.file.name: p.what for p in done.problems if p.kind == "leak"}
    assert set(found) == {"mr_train_tfs", "ct_1003_slice7.tfrecords", "image_ct_1003.nii.gz"}
    assert "is of CT/1003 in split validation" in found["ct_1003_slice7.tfrecords"]
    assert found["image_ct_1003.nii.gz"].startswith("1 of 4 slices with structures are")
    assert "train_ct_train_slice99 (train)" in found["image_ct_1003.nii.gz"]


def test_published_test_cases() -> None:
    assert TESTS == {"CT": (1003, 1008, 1014, 1019), "MR": (1007, 1009, 1018, 1019)}
