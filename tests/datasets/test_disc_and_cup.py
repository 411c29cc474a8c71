"""Grey levels become labels, and a mask with another code is never read as if it had this one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from public_packages import disc, photograph, save
from unshift.datasets.disc_and_cup import RULES, convert
from unshift.datasets.fundus import CODE as DOFE
from unshift.datasets.riga_plus import CODE as RIGA
from unshift.datasets.survey import Item

MASK = Path("mask.png")
LEVELS = [(DOFE, (255, 128, 0)), (RIGA, (0, 255, 128))]


def stored(background: int, rim: int, cup: int, size: tuple[int, int] = (24, 20)) -> torch.Tensor:
    return torch.from_numpy(disc(size, background=background, rim=rim, cup=cup).astype(np.int64))


@pytest.mark.parametrize(("code", "levels"), LEVELS)
def test_both_codes(code, levels) -> None:
    labels, problems = code.labels(stored(*levels), MASK)
    assert torch.equal(labels, stored(0, 1, 2))
    assert problems == []


def test_every_value_has_one_label_as_the_published_thresholds_say() -> None:
    for code in (DOFE, RIGA):
        covered = sorted(v for first, last, _ in code.ranges for v in range(first, last + 1))
        assert covered == list(range(256))
    everything = torch.arange(256).view(16, 16)
    expected = torch.where(everything > 200, 0, torch.where(everything > 50, 1, 2))
    assert torch.equal(DOFE.labels(everything, MASK)[0], expected)


def test_the_disc_contains_the_cup() -> None:
    assert RULES.task().regions == {"disc": frozenset({1, 2}), "cup": frozenset({2})}


def test_traces_of_resampling_are_read_with_a_warning() -> None:
    mask = stored(255, 128, 0, (40, 40))
    mask[20, 20] = 60
    labels, (problem,) = DOFE.labels(mask, MASK)
    assert labels[20, 20] == 1
    assert (problem.kind, problem.severity) == ("stray grey level", "warning")
    assert "1 pixel(s) of 1600 have other grey levels (60); required are 0 cup, 128 rim, 255 background" in str(problem)


@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 128, 255), (0, 255, 128)])
def test_another_code_is_an_error(levels) -> None:
    _, problems = DOFE.labels(stored(*levels), MASK)
    assert [(p.kind, p.severity) for p in problems] == [("wrong grey level", "error")]


def test_the_other_packages_code_is_an_error_in_riga_too() -> None:
    assert [p.severity for p in RIGA.labels(stored(255, 128, 0), MASK)[1]] == ["error"]


def test_a_mask_without_cup_is_named() -> None:
    (problem,) = DOFE.labels(stored(255, 128, 128), MASK)[1]
    assert (problem.kind, problem.severity) == ("empty class", "warning")
    assert "shows no cup;" in problem.what


def item(tmp_path: Path) -> Item:
    save(tmp_path / "x.png", photograph(0, (24, 20)))
    save(tmp_path / "y.png", disc((24, 20), background=255, rim=128, cup=0))
    for part in ("images", "masks"):
        (tmp_path / "out" / part).mkdir(parents=True)
    return Item("case", "A", "A/case", tmp_path / "x.png", tmp_path / "y.png")


def test_conversion_keeps_the_photograph_and_writes_labels(tmp_path: Path) -> None:
    written, problems = convert(one := item(tmp_path), tmp_path / "out", DOFE)
    assert problems == []
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == ["images/case.png", "masks/case.png"]
    assert written[0].read_bytes() == one.image.read_bytes()
    assert set(np.unique(np.asarray(Image.open(written[1])))) == {0, 1, 2}


def test_conversion_names_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    one = item(tmp_path)
    save(one.labels, disc((24, 21), background=255, rim=128, cup=0))
    written, (problem,) = convert(one, tmp_path / "out", DOFE)
    assert (written, problem.kind) == ([], "size")
    assert "is 24×21 but its image" in problem.what and "is 24×20" in problem.what
    one.image.write_bytes(b"no picture")
    written, (problem,) = convert(one, tmp_path / "out", DOFE)
    assert (written, problem.kind, problem.file) == ([], "unusable file", one.image)
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_grey_photograph_is_named(tmp_path: Path) -> None:
    one = item(tmp_path)
    save(one.image, photograph(0, (24, 20))[..., 0])
    written, (problem,) = convert(one, tmp_path / "out", DOFE)
    assert len(written) == 2
    assert problem.kind == "grey photograph"


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_masks_are_read_as_they_are_seen(tmp_path: Path, mode: str) -> None:
    one = item(tmp_path)
    grey = disc((24, 20), background=255, rim=128, cup=0)
    if mode == "P":  # three colors, whose indices mean nothing
        image = Image.fromarray(np.select([grey == 0, grey == 128], [2, 0], 1).astype(np.uint8), mode="L").convert("P")
        image.putpalette([128, 128, 128, 255, 255, 255, 0, 0, 0])
    else:
        image = Image.fromarray(grey).convert(mode)
    image.save(one.labels)
    written, problems = convert(one, tmp_path / "out", DOFE)
    assert problems == []
    assert np.array_equal(np.asarray(Image.open(written[1])), disc((24, 20), background=0, rim=1, cup=2))


def test_a_mask_in_color_is_an_error(tmp_path: Path) -> None:
    one = item(tmp_path)
    save(one.labels, photograph(1, (24, 20)))
    written, (problem,) = convert(one, tmp_path / "out", DOFE)
    assert (written, problem.kind, problem.file) == ([], "unusable file", one.labels)
    assert "is in color" in problem.what
