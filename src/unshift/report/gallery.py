"""The gallery: a small picture of each case, the outlines of reference and prediction drawn over it as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import approximate_polygon, find_contours

from unshift.errors import ShapeMismatch
from unshift.report.content import GalleryItem
from unshift.report.number import plain, title
from unshift.report.picture import data_uri, eight_bit, thumbnail
from unshift.report.reference import Swatch, swatch

LONGEST = 480
MANY = 96
"""Above this number of pictures they are made smaller, so that a page stays below a few megabytes."""
RANKS = ("worst", "median", "best")


@dataclass(frozen=True)
class Picture:
    """One case, ready to be drawn.

    Args:
        source: data URI of a JPEG, longest side at most 480 pixels.
        width, height: of the drawing, in units of the picture's pixels along its width.
        box: ``viewBox`` in which the outlines are drawn.
        reference, prediction: SVG paths; empty where a label map is.
        references: pictures whose colors the image was given.
    """

    case: str
    rank: str
    score: str
    source: str
    width: int
    height: int
    box: str
    reference: str
    prediction: str
    alt: str
    references: tuple[Swatch, ...] = ()


@dataclass(frozen=True)
class Shelf:
    """The pictures of one domain: a row a pipeline, worst to best."""

    domain: str
    rows: tuple[tuple[str, tuple[Picture, ...]], ...]


def shelves(items: Sequence[GalleryItem], *, metric: str, unit: str) -> list[Shelf]:
    """``items`` by domain and pipeline in their given order, worst to best.

    Raises:
        ShapeMismatch: image, reference and prediction of a case do not share a grid.
    """
    found, longest = [], LONGEST if len(items) <= MANY else LONGEST // 2
    for domain in dict.fromkeys(item.domain for item in items):
        rows = []
        for pipeline in dict.fromkeys(item.pipeline for item in items if item.domain == domain):
            here = [item for item in items if (item.domain, item.pipeline) == (domain, pipeline)]
            here.sort(key=lambda item: RANKS.index(item.rank))
            rows.append((pipeline, tuple(picture(item, metric=metric, unit=unit, longest=longest) for item in here)))
        found.append(Shelf(domain, tuple(rows)))
    return found


def picture(item: GalleryItem, *, metric: str, unit: str, longest: int = LONGEST) -> Picture:
    """One item as a JPEG and two paths. A volume is shown in the slice with most reference."""
    image, reference, prediction, where = _slice(item)
    height, width = reference.shape
    tall = height * _pixel_height(item)
    small = thumbnail(eight_bit(image), width, tall, longest)
    score = plain(item.score, unit)
    shares = [100 * float((m > 0).mean()) for m in (reference, prediction)]
    alt = (
        f"{item.pipeline} on {item.domain}, {item.rank} case: {item.case}{where}, {title(metric)} {score}. "
        f"Reference covers {shares[0]:.1f} percent of the image, "
        f"prediction {shares[1]:.1f} percent."
    )
    return Picture(
        case=item.case + where,
        rank=item.rank,
        score=score,
        source=data_uri(small),
        width=small.width,
        height=small.height,
        box=f"0 0 {width} {height}",
        reference=outline(reference),
        prediction=outline(prediction),
        alt=alt,
        references=tuple(map(swatch, item.references)),
    )


def outline(label_map: np.ndarray) -> str:
    """The outlines of every label above 0 as one SVG path; pixel (row, column) is the square from (column, row)."""
    tolerance = max(label_map.shape) / 1000
    parts = []
    for label in np.unique(label_map[label_map > 0]):
        mask = np.pad(label_map == label, 1)
        for contour in find_contours(mask.astype(np.float32), 0.5):
            # Pixel centres are at half a unit in the drawing; one unit was added by padding.
            points = approximate_polygon(contour, tolerance) - 0.5
            parts.append("M" + " L".join(f"{x:.1f} {y:.1f}" for y, x in points) + " Z")
    return " ".join(parts)


def slice_index(item: GalleryItem) -> int | None:
    """Of a volume, the slice with most reference, or with most prediction where there is none; None of a picture."""
    reference, prediction = np.asarray(item.reference), np.asarray(item.prediction)
    if reference.ndim == 2:
        return None
    areas = [(m > 0).sum(axis=(1, 2)) for m in (reference, prediction)]
    return int(areas[0].argmax() if areas[0].any() else areas[1].argmax())


def _slice(item: GalleryItem) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    image, reference, prediction = (np.asarray(a) for a in (item.image, item.reference, item.prediction))
    if image.shape[1:] != reference.shape or reference.shape != prediction.shape:
        raise ShapeMismatch(
            f"Case {item.case!r}: image is {image.shape[1:]}, reference {reference.shape}, prediction "
            f"{prediction.shape}; all must share one grid. Give all three on the original grid."
        )
    at = slice_index(item)
    if at is None:
        return image, reference, prediction, ""
    return image[:, at], reference[at], prediction[at], f", slice {at + 1} of {reference.shape[0]}"


def _pixel_height(item: GalleryItem) -> float:
    return item.spacing[-2] / item.spacing[-1] if item.spacing else 1.0
