"""The section on the gap: panels from 0 to 1, maps on the right slice, and a page without it where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from unshift.errors import ShapeMismatch
from unshift.report.content import Curve, GalleryItem, GapGroup, GapPicture, Report
from unshift.report.gap import gap_picture, gap_views
from unshift.report.page import render


def item(rank: Any = "worst", pipeline: str = "augmented", **more: Any) -> GalleryItem:
    label_map = np.zeros((8, 10), int)
    label_map[2:5, 3:7] = 1
    parts = {"image": np.full((1, 8, 10), 0.5), "reference": label_map, "prediction": label_map, **more}
    return GalleryItem(pipeline=pipeline, domain="vendor B", case="b_001", rank=rank, score=0.5, **parts)


def group() -> GapGroup:
    curves = [
        Curve("augmented", "head", [100, 200], [0.8, 0.2]),
        Curve("equalized", "head", [100, 200], [0.5, 0.5]),
        Curve("augmented", "background", [100, 200], [0.1, 1.0]),
    ]
    pictures = [
        GapPicture(item(rank), np.full((8, 10), 0.25), {"head": 0.254, "background": 0.1}) for rank in ("best", "worst")
    ]
    return GapGroup("vendor A → vendor B", curves, pictures)


def test_every_panel_is_drawn_from_0_to_1() -> None:
    (view,) = gap_views([group()], names=["baseline", "augmented", "equalized"])
    assert [panel.quantity for panel in view.panels] == ["head", "background"]
    first, second = view.panels[0].lines
    assert first.path == "M50.00 20.00 L100.00 80.00" and first.ends == "0.80 → 0.20"
    assert (first.color, second.color, second.path) == (1, 2, "M50.00 50.00 L100.00 50.00")
    assert "augmented ends at 0.2" in view.panels[0].alt


def test_maps_stand_worst_to_best_with_their_means() -> None:
    (view,) = gap_views([group()], names=[])
    assert view.shelf is not None
    ((pipeline, pictures),) = view.shelf.rows
    assert pipeline == "augmented" and [picture.rank for picture in pictures] == ["worst", "best"]
    assert (pictures[0].score, pictures[0].case) == ("b_001", "head 0.25, background 0.10")
    assert pictures[0].reference.startswith("M") and pictures[0].prediction == ""
    assert "mean gap: head 0.25, background 0.10" in pictures[0].alt


def test_of_a_volume_the_gallerys_slice_is_shown() -> None:
    reference, gap = np.zeros((3, 8, 10), int), np.zeros((3, 8, 10))
    reference[1, 2:5, 3:7], gap[1] = 1, 1.0
    volume = item(image=np.full((1, 3, 8, 10), 0.5), reference=reference, prediction=reference, spacing=(2.0, 1.0, 1.0))
    found = gap_picture(GapPicture(volume, gap, {"head": 1.0}))
    assert (found.score, found.case) == ("b_001, slice 2 of 3", "head 1.00")
    flat = gap_picture(GapPicture(item(), np.ones((8, 10)), {"head": 1.0}))
    assert found.source == flat.source != gap_picture(GapPicture(item(), np.zeros((8, 10)), {"head": 0.0})).source
    with pytest.raises(ShapeMismatch, match=r"the gap is \(8, 9\), the reference \(8, 10\)"):
        gap_picture(GapPicture(item(), np.ones((8, 9)), {}))


def test_the_section_is_there_where_there_is_something_to_show(make_report: Any) -> None:
    report: Report = make_report()
    assert "Where the gap sits" not in render(report)
    page = render(replace(report, gaps=[group()]))
    assert page.count("Where the gap sits") == 2 and "vendor A → vendor B: while training" in page
    assert "0.80 → 0.20" in page and "ramp-colors" in page
    without = render(replace(report, gaps=[replace(group(), pictures=[])]))
    assert "over tested images" not in without and "while training" in without
