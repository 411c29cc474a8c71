from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import polygon2mask

from unshift.errors import ShapeMismatch
from unshift.report.content import GalleryItem
from unshift.report.gallery import LONGEST, MANY, outline, picture, shelves


def item(**changes: Any) -> GalleryItem:
    label_map = np.zeros((40, 60), np.int64)
    label_map[10:20, 15:35] = 1
    shift = np.roll(label_map, 3, axis=1)
    settings: dict[str, Any] = {
        "pipeline": "baseline",
        "domain": "B",
        "case": "c1",
        "rank": "worst",
        "score": 0.85,
        "image": np.random.default_rng(0).random((1, 40, 60), np.float32),
        "reference": label_map,
        "prediction": shift,
    }
    return GalleryItem(**settings | changes)


def pixels(source: str) -> Image.Image:
    assert source.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


def polygons(path: str) -> list[np.ndarray]:
    parts = [re.findall(r"-?[\d.]+", part) for part in path.split("Z") if part.strip()]
    return [np.array(part, float).reshape(-1, 2)[:, ::-1] for part in parts]


@given(st.integers(0, 20), st.integers(0, 20), st.integers(4, 19), st.integers(4, 19))
def test_outlines_hold_the_mask_and_nothing_else(top: int, left: int, height: int, width: int) -> None:
    label_map = np.zeros((40, 40), np.int64)
    label_map[top : top + height, left : left + width] = 2
    (corners,) = polygons(outline(label_map))
    inside = polygon2mask((40, 40), corners - 0.5)  # pixel centres lie half a unit inside
    np.testing.assert_array_equal(inside, label_map > 0)


def test_every_label_and_part_has_its_outline_even_at_the_border() -> None:
    label_map = np.zeros((30, 30), np.int64)
    label_map[:8, :8], label_map[20:, 20:], label_map[12:16, 12:16] = 1, 1, 2
    found = polygons(outline(label_map))
    assert len(found) == 3
    assert min(p.min() for p in found) == 0
    assert max(p.max() for p in found) == 30
    assert outline(np.zeros((5, 5), np.int64)) == ""


def test_a_large_photograph_becomes_small() -> None:
    large = np.zeros((3, 1000, 1500), np.float32)
    large[0] = 1.0
    grid = np.zeros((1000, 1500), np.int64)
    shown = picture(item(image=large, reference=grid, prediction=grid), metric="dice", unit="1")
    assert (shown.width, shown.height, shown.box) == (LONGEST, 320, "0 0 1500 1000")
    assert pixels(shown.source).size == (480, 320)
    red, green, blue = (np.asarray(pixels(shown.source))[..., c].mean() for c in range(3))
    assert red > 250
    assert green < 5
    assert blue < 5


def test_a_volume_shows_the_slice_with_most_reference_in_true_shape() -> None:
    volume, reference = np.zeros((1, 6, 20, 30), np.float32), np.zeros((6, 20, 30), np.int64)
    volume[0, 4] = 900.0
    volume[0, 4, :, :15] = -100.0
    reference[4, 5:15, 5:15], reference[2, 5:8, 5:8] = 1, 1
    made = item(image=volume, reference=reference, prediction=np.zeros_like(reference), spacing=(5.0, 2.0, 1.0))
    shown = picture(made, metric="dice", unit="1")
    assert shown.case == "c1, slice 5 of 6"
    assert (shown.width, shown.height) == (30, 40)  # rows are twice as tall as columns are wide
    grey = np.asarray(pixels(shown.source))
    assert grey[:, :12].mean() < 10
    assert grey[:, 18:].mean() > 245
    empty = picture(item(image=volume, reference=reference * 0, prediction=reference), metric="dice", unit="1")
    assert empty.case == "c1, slice 5 of 6"
    assert empty.reference == ""


def test_the_text_says_what_the_picture_shows() -> None:
    shown = picture(item(), metric="dice", unit="1")
    # 200 of 2400 pixels
    assert shown.alt == (
        "baseline on B, worst case: c1, Dice 85.0. Reference covers 8.3 percent of the image, prediction 8.3 percent."
    )
    assert picture(item(score=float("nan")), metric="dice", unit="1").score == "–"


def test_a_constant_image_is_no_error() -> None:
    picture(item(image=np.full((1, 40, 60), 7.0)), metric="dice", unit="1")


def test_grids_must_agree() -> None:
    with pytest.raises(ShapeMismatch, match="Case 'c1': image is .* all must share one grid"):
        picture(item(prediction=np.zeros((40, 59), np.int64)), metric="dice", unit="1")


def test_shelves_go_by_domain_and_pipeline_worst_to_best() -> None:
    items = [item(rank=rank, pipeline=p) for p in ("baseline", "aug") for rank in ("best", "worst", "median")]
    found = shelves([*items, item(domain="C")], metric="dice", unit="1")
    assert [s.domain for s in found] == ["B", "C"]
    assert [name for name, _ in found[0].rows] == ["baseline", "aug"]
    assert [p.rank for p in found[0].rows[0][1]] == ["worst", "median", "best"]


def test_many_pictures_are_smaller() -> None:
    grid = np.zeros((30, LONGEST * 2), np.int64)
    large = item(image=np.zeros((1, *grid.shape), np.float32), reference=grid, prediction=grid)
    few, many = (shelves([large] * n, metric="dice", unit="1")[0].rows[0][1][0] for n in (MANY, MANY + 1))
    assert (few.width, many.width) == (LONGEST, LONGEST // 2)
