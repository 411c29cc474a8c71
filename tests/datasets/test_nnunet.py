"""nnU-Net's raw layout, with and without its table."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from unshift.config import parse
from unshift.datasets.nnunet import MEMBER
from unshift.errors import DataError, ShapeMismatch


def volume(path: Path, shape: tuple[int, int, int] = (4, 5, 6), offset: int = 0, dtype: type = np.float32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (np.arange(np.prod(shape)).reshape(shape) % 3 + offset).astype(dtype)
    nib.save(nib.Nifti1Image(array, np.diag([0.5, 0.6, 3.0, 1.0])), path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Dataset001_Prostate"
    for case in ("p1_a", "p1_b", "p2"):
        volume(folder / "imagesTr" / f"{case}_0000.nii.gz")
        volume(folder / "imagesTr" / f"{case}_0001.nii.gz", offset=10)
        volume(folder / "labelsTr" / f"{case}.nii.gz", dtype=np.uint8)
    manifest = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def opened(root: Path, **settings):
    return MEMBER(parse(MEMBER.Config, settings, where="test"), root)


def table(root: Path, *lines: str) -> None:
    (root / "domains.csv").write_text("\n".join(["case,patient,domain,vendor,split", *lines]), encoding="utf-8")


def test_without_a_table_there_is_one_domain_and_the_log_says_so(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        dataset = opened(root)
        assert dataset.domains == ("Dataset001_Prostate",)
    assert "each case is its own patient" in caplog.text
    cases = dataset.cases("Dataset001_Prostate")
    assert [(case.name, case.patient, case.split) for case in cases] == [(n, n, None) for n in ("p1_a", "p1_b", "p2")]


def test_channel_files_become_channels_in_order(root: Path) -> None:
    sample = (dataset := opened(root)).read(dataset.cases(root.name)[0])
    assert sample.image.shape == (2, 6, 5, 4)
    assert (sample.image[1] - sample.image[0]).unique().tolist() == [10.0]
    assert sample.spacing == pytest.approx((3.0, 0.6, 0.5))
    assert dataset.task.spatial_dims == 3
    assert opened(root, spatial_dims=2).task.spatial_dims == 2


def test_the_table_gives_patients_domains_and_metadata(root: Path) -> None:
    table(root, "p1_a,p1,B,GE,", "p1_b,p1,A,,", "p2,p2,A,Siemens,test")
    dataset = opened(root)
    assert dataset.domains == ("A", "B")
    assert [(c.name, c.patient, c.split, dict(c.metadata)) for c in dataset.cases("A")] == [
        ("p1_b", "p1", None, {}),
        ("p2", "p2", "test", {"vendor": "Siemens"}),
    ]


def test_faults_of_the_table_are_raised_together(root: Path) -> None:
    table(root, "p1_a,p1,B,GE,", "p1_a,p1,B,GE,", "p3,p3,A,,")
    with pytest.raises(DataError, match=r"(?s)4 problems.*second time.*'p1_b' has no line.*'p2' has.*'p3' has a line"):
        (dataset := opened(root)).cases(dataset.domains[0])


def test_the_test_cases_need_labels(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for channel in ("0000", "0001"):
        volume(root / "imagesTs" / f"p9_{channel}.nii.gz")
    with caplog.at_level(logging.INFO):
        assert len(opened(root).cases(root.name)) == 3
    assert "1 case(s) are left out, since there is no labelsTs" in caplog.text
    volume(root / "labelsTs" / "p9.nii.gz", dtype=np.uint8)
    assert [case.split for case in opened(root).cases(root.name)] == [None, None, None, "test"]


def test_faults_of_the_files_are_listed(root: Path) -> None:
    (root / "imagesTr" / "p1_a_0001.nii.gz").rename(root / "imagesTr" / "p1_a_0007.nii.gz")
    (root / "labelsTr" / "p1_b.nii.gz").rename(root / "labelsTr" / "p8.nii.gz")
    (root / "imagesTr" / "p2.nii.gz").write_bytes(b"x")
    (root / "imagesTr" / "p2.png").write_bytes(b"x")
    volume(root / "imagesTs" / "p2_0000.nii.gz")
    volume(root / "labelsTs" / "p2.nii.gz", dtype=np.uint8)
    dataset = opened(root)
    assert sorted((p.kind, p.severity) for p in dataset.scan.problems) == [
        ("channel files", "error"),
        ("doubled case", "error"),
        ("file name", "error"),
        ("missing image", "error"),
        ("missing mask", "error"),
        ("stray file", "warning"),
    ]


def test_one_color_file_may_hold_all_channels(pairs, write, tmp_path: Path) -> None:
    write("imagesTr/a_0000.png", np.zeros((4, 5, 3)))
    write("labelsTr/a.png", np.eye(4, 5))
    labels = {"background": 0, "polyp": 1}
    names = {"0": "R", "1": "G", "2": "B"}
    manifest = {"channel_names": names, "labels": labels, "file_ending": ".png"}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    sample = (dataset := opened(tmp_path / "data")).read(dataset.cases("data")[0])
    assert (sample.image.shape, dataset.task.spatial_dims) == ((3, 4, 5), 2)
    write("imagesTr/a_0000.png", np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"a_0000.png: its case has 1 channel\(s\) in all; the task has 3"):
        dataset.read_image(dataset.cases("data")[0])


def test_channel_files_share_one_grid(root: Path) -> None:
    volume(root / "imagesTr" / "p2_0001.nii.gz", shape=(4, 5, 7))
    with pytest.raises(ShapeMismatch, match=r"p2_0001.nii.gz: channel is 7×5×4 but image .*p2_0000.nii.gz is 6×5×4"):
        (dataset := opened(root)).read_image(dataset.cases(root.name)[2])


def test_one_damaged_file_does_not_hide_the_task(root: Path) -> None:
    (root / "imagesTr" / "p1_a_0000.nii.gz").write_bytes(b"damaged")
    assert opened(root).task.spatial_dims == 3
    for path in (root / "imagesTr").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"p1_a_0000.nii.gz"):
        opened(root).task  # noqa: B018


def test_missing_parts_show_the_expected_tree(root: Path) -> None:
    with pytest.raises(DataError, match="seating.csv: no such file; the setting sidecar names it"):
        opened(root, sidecar="seating.csv").domains  # noqa: B018
    for part in ("labelsTr", "imagesTr"):
        (root / part).rename(root / f"old_{part}")
        with pytest.raises(DataError, match=rf"(?s){part}: no such folder.*<root>/dataset.json"):
            opened(root).domains  # noqa: B018
    (root / "imagesTr").mkdir()
    (root / "labelsTr").mkdir()
    with pytest.raises(DataError, match="imagesTr: holds no case; one or more are required"):
        opened(root).task  # noqa: B018
