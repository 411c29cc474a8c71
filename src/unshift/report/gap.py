"""The section on the gap between domains: curves by region, all from 0 to 1, and maps over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unshift.errors import ShapeMismatch
from unshift.report.content import GapGroup, GapPicture
from unshift.report.curve import CurvePanel, curve_panels
from unshift.report.gallery import RANKS, Picture, Shelf, picture, slice_index
from unshift.report.heat import heated


@dataclass(frozen=True)
class GapView:
    """One direction: a panel a region, and a row of maps a pipeline (None where there are no images)."""

    title: str
    panels: tuple[CurvePanel, ...]
    shelf: Shelf | None


def gap_views(groups: Sequence[GapGroup], *, names: Sequence[str]) -> list[GapView]:
    """``names``: of pipelines, in the order of colors.

    Raises:
        ShapeMismatch: a map is not on its image's grid.
    """
    views = []
    for group in groups:
        rows = []
        for pipeline in dict.fromkeys(one.item.pipeline for one in group.pictures):
            here = [one for one in group.pictures if one.item.pipeline == pipeline]
            here.sort(key=lambda one: RANKS.index(one.item.rank))
            rows.append((pipeline, tuple(gap_picture(one) for one in here)))
        shelf = Shelf(group.title, tuple(rows)) if rows else None
        views.append(GapView(group.title, tuple(curve_panels(group.curves, names=names, bounds=(0.0, 1.0))), shelf))
    return views


def gap_picture(one: GapPicture) -> Picture:
    """The image in gray, the gap over it in color, outlines of the reference; its caption has the means by region."""
    item, gap = one.item, np.asarray(one.gap)
    if gap.shape != np.asarray(item.reference).shape:
        raise ShapeMismatch(
            f"Case {item.case!r}: the gap is {gap.shape}, the reference {np.asarray(item.reference).shape}; both must "
            "share one grid. Give both on the original grid."
        )
    at = slice_index(item)
    if at is not None:
        image, reference, prediction = (
            np.asarray(a)[..., at, :, :] for a in (item.image, item.reference, item.prediction)
        )
        item = replace(item, image=image, reference=reference, prediction=prediction)
        item, gap = replace(item, case=f"{item.case}, slice {at + 1} of {len(gap)}"), gap[at]
    drawn = picture(replace(item, image=heated(item.image, gap) / 255), metric="dice", unit="1")
    said = ", ".join(f"{name} {value:.2f}" for name, value in one.means.items())
    alt = f"Gap of {item.pipeline} over {item.case}, {item.rank} case of {item.domain}; mean gap: {said}."
    return replace(drawn, prediction="", score=item.case, case=said, alt=alt)
