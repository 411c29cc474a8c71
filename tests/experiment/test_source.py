"""Source images: every layout, the division by patient, and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robust_models import TASK, write_discs
from unshift.errors import ConfigError, DataError
from unshift.experiment.source import divide, open_source, require_whole_files
from unshift.sample import Case, Task


def test_images_alone(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "made", 6, masks=False) / "images"
    source = open_source(folder, TASK)
    assert not source.is_labeled
    assert len(source.fit) == 4
    assert len(source.held_out) == 2
    assert "without labels" in source.description
    assert source.dataset.read_image(source.fit[0]).image.shape == (1, 48, 48)


def test_images_with_masks_beside_them(tmp_path: Path) -> None:
    source = open_source(write_discs(tmp_path / "made", 5), TASK)
    assert source.is_labeled
    assert set(source.dataset.read(source.fit[0]).label_map.unique().tolist()) == {0, 1}


def test_domains_and_one_without_masks_makes_all_unlabeled(tmp_path: Path) -> None:
    write_discs(tmp_path / "data" / "a", 3)
    write_discs(tmp_path / "data" / "b", 3, start=3)
    assert open_source(tmp_path / "data", TASK).is_labeled
    write_discs(tmp_path / "data" / "c", 3, masks=False, start=6)
    source = open_source(tmp_path / "data", TASK)
    assert not source.is_labeled
    assert {c.domain for c in (*source.fit, *source.held_out)} == {"a", "b", "c"}


def test_grey_files_become_the_channels_of_the_model(tmp_path: Path) -> None:
    source = open_source(write_discs(tmp_path / "made", 4), Task(3, ("background", "disc")))
    assert source.dataset.read_image(source.fit[0]).image.shape == (3, 48, 48)


def test_volumes(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for i in range(4):
        nibabel.save(
            nibabel.Nifti1Image(np.full((5, 6, 7), i, np.float32), np.eye(4)), tmp_path / "scans" / f"{i}.nii.gz"
        )
    source = open_source(tmp_path / "scans", Task(1, ("background", "disc"), spatial_dims=3))
    assert source.dataset.read_image(source.fit[0]).image.shape == (1, 7, 6, 5)


def test_a_pattern_keeps_a_patients_images_together(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "made", 20) / "images"
    by_image = open_source(folder, TASK)
    assert "every image is taken for its own patient" in by_image.description
    source = open_source(folder, TASK, patient=r"^p\d(\d)")
    patients = [{c.name[-1] for c in part} for part in (source.fit, source.held_out)]
    assert not patients[0] & patients[1]
    assert len(source.held_out) == 8
    with pytest.raises(ConfigError, match="has no group"):
        open_source(folder, TASK, patient="p")


@given(counts=st.lists(st.integers(1, 4), min_size=4, max_size=20), seed=st.integers(0, 99), most=st.integers(2, 30))
@settings(max_examples=50, deadline=None)
def test_division_shares_no_patient(counts: list[int], seed: int, most: int) -> None:
    cases = [Case(f"{p}_{i}", f"p{p}", "d") for p, count in enumerate(counts) for i in range(count)]
    fit, held_out = divide(cases, where="d", most=most, seed=seed)
    assert not {c.patient for c in fit} & {c.patient for c in held_out}
    assert min(len({c.patient for c in part}) for part in (fit, held_out)) >= 2
    assert divide(cases[::-1], where="d", most=most, seed=seed)[1] == held_out[::-1]
    assert len(held_out) <= max(most, 2 * max(counts))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_images_are_named(tmp_path: Path, count: int) -> None:
    folder = write_discs(tmp_path / "made", count, masks=False) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match="holds no image" if not count else f"{count} image.*at least 4 patients"):
        open_source(folder, TASK)


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_source(tmp_path / "nothing", TASK)
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(DataError, match="is a file"):
        open_source(tmp_path / "file.png", TASK)


def test_masks_with_other_values_are_named(tmp_path: Path) -> None:
    source = open_source(write_discs(tmp_path / "made", 4), Task(1, ("background", "rim", "cup")))
    with pytest.raises(DataError, match=r"255.*required are \{0, 1, 2\}"):
        source.dataset.read_label_map(source.fit[0])


def test_every_bad_file_is_named_used_or_not(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "made", 30)
    source = open_source(folder, TASK, most=4)
    assert len(source.cases) == 30
    assert source.spare
    require_whole_files(source)
    names = [source.spare[0].name, source.fit[-1].name, source.held_out[0].name]
    Image.fromarray(np.full((48, 48), 128, np.uint8)).save(folder / "masks" / f"{names[0]}.png")
    whole = (folder / "masks" / f"{names[1]}.png").read_bytes()
    (folder / "masks" / f"{names[1]}.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / f"{names[2]}.png").write_bytes(b"")
    with pytest.raises(DataError, match="3 problems in its files") as caught:
        require_whole_files(open_source(folder, TASK, most=4))
    assert all(f"{name}.png" in str(caught.value) for name in names)
    assert "(128)" in str(caught.value)


def test_images_that_share_a_stem_are_refused(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "made", 6, masks=False) / "images"
    Image.open(folder / "p03.png").save(folder / "p03.jpg")
    with pytest.raises(DataError, match=r"share the stem 'p03' \(p03.jpg, p03.png\)"):
        open_source(folder, TASK)
