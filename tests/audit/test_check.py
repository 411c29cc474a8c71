"""Every planted fault is found in one pass, with its file; a sound dataset has none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from unshift.audit.check import check, check_files
from unshift.config import parse
from unshift.datasets.folder import MEMBER as FOLDER
from unshift.datasets.opening import open_dataset


def opened(root: Path, **settings):
    return FOLDER(parse(FOLDER.Config, settings, where="test"), root)


def found(problems, root: Path) -> list[tuple[str, str, str]]:
    return [(p.severity, p.kind, p.file.relative_to(root).as_posix()) for p in problems]


def test_a_sound_dataset_has_no_problem_and_progress_is_told(pairs) -> None:
    root = pairs({"A": ["1", "2"], "B": ["1"]}, shape=(32, 40, 3))
    told: list[tuple[int, int]] = []
    assert check(opened(root), listener=lambda done, total: told.append((done, total))) == []
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_fault_of_every_file_is_listed_at_once(pairs, write) -> None:
    root = pairs({"A": [f"{i}" for i in range(9)]}, shape=(32, 40, 3))
    data = (root / "A/images/0.png").read_bytes()
    (root / "A/images/0.png").write_bytes(data[: len(data) // 2])
    (root / "A/masks/1.png").write_bytes(b"")
    write("A/masks/2.png", np.zeros((32, 41)))
    write("A/masks/3.png", np.resize([0, 3, 255], (31, 40)))
    write("A/masks/4.png", np.zeros((32, 40)))
    write("A/images/5.png", np.full((32, 40, 3), 9))
    (root / "A/masks/6.png").unlink()
    (root / "A/images/7.png").unlink()
    (root / "A/images/.DS_Store").write_bytes(b"x")
    (root / "A/images/8.txt").write_bytes(b"x")
    problems = check(opened(root))
    assert found(problems, root) == [
        ("error", "labels outside the task", "A/masks/3.png"),
        ("error", "missing image", "A/masks/7.png"),
        ("error", "missing mask", "A/images/6.png"),
        ("error", "size", "A/masks/2.png"),
        ("error", "size", "A/masks/3.png"),
        ("error", "unusable image", "A/images/0.png"),
        ("error", "unusable label map", "A/masks/1.png"),
        ("warning", "stray file", "A/images/8.txt"),
        ("count", "blank images", "A"),
        ("count", "empty label maps", "A"),
    ]
    assert all(p.what and p.remedy for p in problems)
    assert "2 of 6 label maps are empty (2, 4)" in problems[-1].what


def test_nan_is_found_and_a_shifted_affine(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 5.0)):
        image = np.random.default_rng(0).normal(size=(8, 9, 5)).astype(np.float32)
        if name == "a":
            image[1, 2, 3] = np.nan
        affine = np.eye(4)
        for part, array in (("images", image), ("masks", np.ones((8, 9, 5), np.uint8))):
            (tmp_path / "A" / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), tmp_path / "A" / part / f"{name}.nii.gz")
            affine = np.array(affine)
            affine[0, 3] += shift
    problems = check(opened(tmp_path, channels=1, spatial_dims=3))
    assert found(problems, tmp_path) == [
        ("error", "unusable image", "A/images/a.nii.gz"),
        ("warning", "placement", "A/masks/b.nii.gz"),
    ]
    assert "1 NaN" in problems[0].what


def test_patients_in_two_domains_and_in_two_splits(pairs) -> None:
    root = pairs({"A": ["p1_a", "p2_a"], "B": ["p1_b"]}, shape=(32, 40, 3))
    rule = {"pattern": r"^(p\d)_"}
    (problem,) = check(opened(root, patient=rule))
    assert (problem.severity, problem.kind) == ("warning", "patient in two domains")
    assert "patient 'p1' stands in the domains A (p1_a), B (p1_b)" in problem.what
    problems = check(opened(root, patient=rule, test_only=["B"]))
    assert [(p.severity, p.kind) for p in problems] == [
        ("error", "patient in two splits"),
        ("warning", "patient in two domains"),
    ]
    assert check(opened(root, patient={**rule, "scope": "domain"}, test_only=["B"])) == []


def test_a_layout_that_cannot_be_scanned_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (problem,) = check(opened(tmp_path))
    assert (problem.severity, problem.kind, problem.file) == ("error", "layout", tmp_path)
    assert problem.what == "holds pictures; a domain's folder with images in it is required"


def smooth(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("place", "settings", "expected"),
    [
        ("A/images/z.png", {}, ("warning", "copied image", "A/images/z.png")),
        ("B/images/z.png", {}, ("warning", "image in two domains", "B/images/z.png")),
        ("B/images/z.png", {"test_only": ["B"]}, ("error", "image in two splits", "B/images/z.png")),
    ],
)
def test_exact_copies_are_found(pairs, write, place: str, settings: dict, expected: tuple) -> None:
    root = pairs({"A": ["1", "2"], "B": ["1"]}, shape=(80, 96, 3))
    write("A/images/1.png", smooth(1))
    write(place, smooth(1))
    write(place.replace("images", "masks"), np.resize([0, 255], (80, 96)))
    assert found(check(opened(root, **settings)), root) == [expected]


def test_near_copies_across_patients_are_counted(pairs, write) -> None:
    root = pairs({"A": ["1_a", "2_a"], "B": ["1_a"]}, shape=(80, 96, 3))
    image = smooth(1)
    write("A/images/1_a.png", image)
    write("A/images/2_a.png", np.clip(image * 0.9 + 5, 0, 255))
    (problem,) = check(opened(root))
    assert (problem.severity, problem.kind, problem.file) == ("warning", "near-copies", root / "A")
    assert "1 pair(s) of nearly the same image have different patients (1_a ~ 2_a)" in problem.what
    assert check(opened(root, patient={"pattern": r"^\d(_a)", "scope": "domain"})) == []


@pytest.mark.real
@pytest.mark.parametrize("name", ["breast_us", "spinalcord_gm_mri_3d", "spinalcord_gm_mri", "fundus_vessel"])
def test_published_datasets_have_no_errors(real_data: Path, name: str) -> None:
    problems = check(open_dataset(real_data / name))
    assert [p for p in problems if p.severity == "error"] == []


@pytest.mark.real
def test_the_polyps_empty_masks_are_those_that_the_owners_count(real_data: Path) -> None:
    problems = check(open_dataset(real_data / "polyp"))
    assert [p for p in problems if p.severity == "error"] == []
    counts = [p.what.partition(" label maps")[0] for p in problems if p.kind == "empty label maps"]
    assert counts == ["5 of 256", "32 of 301", "1 of 229", "81 of 227", "2 of 208", "5 of 88"]


def test_files_alone(pairs, write) -> None:
    root = pairs({"A": [f"{i}" for i in range(4)]}, shape=(32, 40, 3))
    write("A/masks/1.png", np.resize([0, 128], (32, 40)))
    (root / "A/masks/3.png").write_bytes(b"")
    (root / "A/images/copy.png").write_bytes((root / "A/images/0.png").read_bytes())
    dataset = opened(root)
    assert found(check_files(dataset, dataset.scan.cases), root) == [
        ("error", "labels outside the task", "A/masks/1.png"),
        ("error", "unusable label map", "A/masks/3.png"),
    ]
    assert check_files(dataset, dataset.scan.cases[:1]) == []


def test_domains_of_other_channels_are_told_with_both_counts(tmp_path: Path) -> None:
    for domain, channels in (("A", 1), ("B", 4)):
        for i in range(2):
            space = np.random.default_rng(i).random((8, 9, 1, channels)[: 3 + (channels > 1)]).astype(np.float32)
            for part, array in (("images", space), ("masks", np.ones((8, 9, 1), np.uint8))):
                (tmp_path / domain / part).mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / domain / part / f"{i}.nii.gz")
    dataset = opened(tmp_path, channels=4, spatial_dims=3)
    [problem] = [p for p in check(dataset) if p.kind == "other channels"]
    assert "2 image(s) of A have 1 channel(s) (0, 1); 2 image(s) of B can be read with 4" in problem.what
    assert [p.kind for p in check_files(dataset, dataset.cases("A"))] == ["other channels"]
