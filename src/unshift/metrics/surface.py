"""Metrics of surface distance: hd, hd95, assd, asd, nsd, all from one pass over two masks.

A surface voxel is a voxel of the mask with at least one face neighbour outside it; outside the image is outside the
mask. This is ``mask XOR binary_erosion(mask)`` of MedPy and MONAI. A surface voxel's distance is the Euclidean distance
between its centre and the centre of the nearest surface voxel of the other mask.

MedPy and MONAI agree on ``hd``, ``asd`` and ``assd``, and differ in ``hd95``, so both ways are here: ``max`` (default;
MONAI, Metrics Reloaded, DeepMind) is the larger of the two directed 95th percentiles; ``pooled`` (MedPy) is the 95th
percentile of both sets of distances joined. ``max`` does not let a long surface
that fits outvote a short one that does not.

Distances are found by a k-d tree over surface voxels only, in float64. A distance transform has to visit every voxel
of the box, and the fast ones compute in float32, which for anisotropic spacing is not exact to 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from unshift.errors import DataError
from unshift.metrics.masks import Mask, as_pair

Percentile = Literal["max", "pooled"]
_WORTH_THREADS = 5000
"""Surface voxels below which starting threads takes longer than the search."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Directed distances of two surfaces, in mm when a spacing was given, else in voxels.

    Args:
        from_prediction: one value for each surface voxel of the prediction: the way to the reference.
        from_reference: one value for each surface voxel of the reference: the way to the prediction.
    """

    from_prediction: Float[np.ndarray, " p"]
    from_reference: Float[np.ndarray, " r"]

    @property
    def joined(self) -> Float[np.ndarray, " n"]:
        """Both sets as one."""
        return np.concatenate([self.from_prediction, self.from_reference])


def surface_distances(
    prediction: Mask, reference: Mask, spacing: tuple[float, ...] | None = None, *, workers: int = 1
) -> SurfaceDistances:
    """Distances between the surfaces of two masks, in both directions.

    Args:
        prediction, reference: boolean masks on one grid, of any number of axes; neither may be empty.
        spacing: mm per voxel in array axis order; None measures in voxels.
        workers: threads that search large surfaces; -1 takes all cores.

    Raises:
        DataError: a mask is empty or not boolean; the spacing has another length than the grid or is not positive.
        ShapeMismatch: the masks have different shapes.
    """
    p, r = as_pair(prediction, reference)
    step = checked_spacing(spacing, p.ndim)
    for name, mask in (("prediction", p), ("reference", r)):
        if not mask.any():
            raise DataError(f"Mask of the {name}: it is empty; a distance needs a surface. Apply a policy for it.")
    box = _bounding_box(p | r)
    p, r = surface(p[box]), surface(r[box])
    shared = p & r
    points = [_centres(mask, step) for mask in (p, r)]
    return SurfaceDistances(
        _directed(points[0], points[1], shared[p], workers), _directed(points[1], points[0], shared[r], workers)
    )


def surface(mask: Bool[np.ndarray, "*space"]) -> Bool[np.ndarray, "*space"]:
    """Voxels of ``mask`` with a face neighbour outside it; what lies beyond the array is outside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        near, moved = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        near[1:] &= moved[:-1]
        near[:-1] &= moved[1:]
        near[[0, -1]] = False
    return mask ^ inner


def hd(distances: SurfaceDistances) -> float:
    """Hausdorff distance: the largest of all distances."""
    return float(max(distances.from_prediction.max(), distances.from_reference.max()))


def hd95(distances: SurfaceDistances, *, way: Percentile = "max") -> float:
    """95th percentile (linear interpolation) in place of the maximum; the module tells the two ways."""
    if way == "pooled":
        return float(np.percentile(distances.joined, 95))
    return float(max(np.percentile(d, 95) for d in (distances.from_prediction, distances.from_reference)))


def assd(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance: the mean of both sets of distances joined."""
    return float(distances.joined.mean())


def asd(distances: SurfaceDistances) -> float:
    """Average surface distance from prediction to reference only: a missed part of the reference costs nothing."""
    return float(distances.from_prediction.mean())


def nsd(distances: SurfaceDistances, tolerance: float) -> float:
    """Normalized surface Dice: share of all surface voxels that lie within ``tolerance`` of the other surface.

    A distance that exceeds the tolerance by no more than one part in a million counts as within: three voxels of
    0.7 mm are 2.0999999999999996 or 2.1 mm depending on rounding, and a score must not hang on that.

    Source: Nikolov et al., arXiv:1809.04430. Each surface voxel has weight 1, as in MONAI's default; DeepMind's code
    weights by the area of the surface element.
    """
    within = tolerance * (1 + 1e-6)
    return float(np.mean(distances.joined <= within))


def checked_spacing(spacing: tuple[float, ...] | None, axes: int) -> Float[np.ndarray, " axes"]:
    """The spacing as an array; ones when unknown.

    Raises:
        DataError: it has another length than the grid has axes, or an entry is not a positive number.
    """
    if spacing is None:
        return np.ones(axes)
    step = np.asarray(spacing, dtype=np.float64)
    if step.shape != (axes,) or not (np.isfinite(step) & (step > 0)).all():
        raise DataError(f"Spacing: found {tuple(spacing)}; {axes} positive numbers are required, one for each axis.")
    return step


def _bounding_box(mask: Bool[np.ndarray, "*space"]) -> tuple[slice, ...]:
    """The smallest box with all of ``mask``: both surfaces lie in it, so cropping changes no distance."""
    box = []
    while mask.ndim:
        filled = np.flatnonzero(mask.reshape(mask.shape[0], -1).any(axis=1))
        span = slice(int(filled[0]), int(filled[-1]) + 1)
        box.append(span)
        mask = np.bitwise_or.reduce(mask[span], axis=0)
    return tuple(box)


def _centres(mask: Bool[np.ndarray, "*space"], step: Float[np.ndarray, " axes"]) -> Float[np.ndarray, "n axes"]:
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1) * step


def _directed(
    start: Float[np.ndarray, "n axes"], goal: Float[np.ndarray, "m axes"], shared: Bool[np.ndarray, " n"], workers: int
) -> Float[np.ndarray, " n"]:
    """Distance of each start to its nearest goal; ``shared`` starts are goals themselves and need no search."""
    found = np.zeros(len(start))
    if not shared.all():
        tree = cKDTree(goal, leafsize=32, balanced_tree=False, compact_nodes=False)
        threads = workers if len(start) >= _WORTH_THREADS else 1
        found[~shared] = tree.query(start[~shared], workers=threads)[0]
    return found
