"""The most central of many vectors: least mean Euclidean distance to all of them, exactly and without an N × N matrix.

    g* = argmin_i (1/N) Σ_j ‖h_i − h_j‖₂        (the self distance 0 is among the N, as in the authors' code)

Exact in three steps. float32 matrix products give every squared distance up to a known rounding error; blocks are
summed and forgotten, and each pair is computed once. Only vectors whose mean may still be the least, by that error,
are looked at again: first by products in float64, then (equal ones once) by float64 differences, which decide. Means
that agree to 12 digits are ties, and the first one by ``order`` wins.

Differences from the authors' code: it holds the N × N matrix and takes the first of equal ones in file order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import DataError

BLOCK = 1024
"""Vectors in a block: its distances, 4 MB, stay in the cache of a core."""
_TIE = 1e-12
Progress = Callable[[int, int], None]


def medoid(
    vectors: Float[Tensor, "n k"],
    *,
    order: Sequence[str] | None = None,
    allowed: Bool[Tensor, " n"] | None = None,
    progress: Progress | None = None,
) -> int:
    """The index of the vector with the least mean distance to all vectors.

    Args:
        vectors: float32; distances are those of its float32 values, whatever their scale.
        order: names by which ties are broken, so that a permutation of the vectors changes nothing; default: position.
        allowed: vectors that may be chosen; all count in the means.
        progress: is told (done, of all) blocks of rows.

    Raises:
        DataError: no vector, values that are not finite, or none is allowed.
    """
    _check(vectors, allowed)
    exact = vectors[:, (vectors != 0).any(0)]  # bins that are empty everywhere add nothing to any distance
    means, error = _screen(exact - exact.mean(0), progress or (lambda done, total: None))
    if allowed is not None:
        means[~allowed] = torch.inf
    near = (means <= means.min() + 2 * error).nonzero().flatten()
    if len(near) > 1:
        means, error = _products(exact, near)
        near = near[means <= means.min() + 2 * error]
    means = _differences(exact, near)
    tied = near[means <= means.min() * (1 + _TIE)].tolist()
    return min(tied, key=lambda index: order[index]) if order is not None else min(tied)


def mean_distances(vectors: Float[Tensor, "n k"], chosen: Sequence[int]) -> Float[Tensor, " chosen"]:
    """Mean Euclidean distance of some vectors to all, float64, by differences."""
    return _differences(vectors, torch.as_tensor(list(chosen), device=vectors.device))


def _check(vectors: Tensor, allowed: Tensor | None) -> None:
    if not len(vectors) or (allowed is not None and not allowed.any()):
        raise DataError(f"medoid: {len(vectors)} vectors, of which none may be chosen; give one or more.")
    if not torch.isfinite(vectors.sum(0)).all():
        raise DataError("medoid: values that are not finite; finite numbers are required. Check the images.")


def _screen(rows: Float[Tensor, "n k"], progress: Progress) -> tuple[Float[Tensor, " n"], float]:
    """Mean distances, float64, of float32 products, every pair once; and a bound of their error."""
    count, squares = len(rows), rows.square().sum(1)
    sums = torch.zeros(count, dtype=torch.float64, device=rows.device)
    buffer = rows.new_empty(BLOCK * BLOCK)
    starts = range(0, count, BLOCK)
    for number, i in enumerate(starts):
        left = rows[i : i + BLOCK]
        for j in range(i, count, BLOCK):
            right = rows[j : j + BLOCK]
            block = buffer[: len(left) * len(right)].view(len(left), len(right))
            torch.addmm(squares[j : j + BLOCK], left, right.T, alpha=-2, out=block)
            block.add_(squares[i : i + BLOCK, None]).clamp_min_(0).sqrt_()
            sums[i : i + BLOCK] += block.sum(1)
            if j > i:
                sums[j : j + BLOCK] += block.sum(0)
        progress(number + 1, len(starts))
    return sums / count, _error(rows, squares, torch.finfo(torch.float32).eps)


def _products(rows: Float[Tensor, "n k"], chosen: Tensor) -> tuple[Float[Tensor, " chosen"], float]:
    """Mean distances of the chosen by float64 products, and a bound of their error."""
    starts = range(0, len(rows), BLOCK)
    squares = torch.cat([rows[j : j + BLOCK].double().square().sum(1) for j in starts])
    found = []
    for part in chosen.split(BLOCK):
        left, sums = rows[part].double(), squares.new_zeros(len(part))
        for j in starts:
            block = torch.addmm(squares[j : j + BLOCK], left, rows[j : j + BLOCK].double().T, alpha=-2)
            sums += block.add_(squares[part, None]).clamp_min_(0).sqrt_().sum(1)
        found.append(sums / len(rows))
    return torch.cat(found), _error(rows, squares, torch.finfo(torch.float64).eps)


def _differences(rows: Float[Tensor, "n k"], chosen: Tensor) -> Float[Tensor, " chosen"]:
    """Mean distances of the chosen by float64 differences; equal rows are computed once."""
    distinct, place = rows[chosen].unique(dim=0, return_inverse=True)
    sums = torch.zeros(len(distinct), dtype=torch.float64, device=rows.device)
    for index, row in enumerate(distinct.double()):
        for part in rows.split(4 * BLOCK):
            sums[index] += (part.double() - row).square().sum(1).sqrt().sum()
    return (sums / len(rows))[place]


def _error(rows: Tensor, squares: Tensor, eps: float) -> float:
    """How far a mean of ‖a‖² + ‖b‖² − 2ab, rooted, may be off: |d̂ − d| ≤ √|d̂² − d²|, and products of k terms err by
    (k + 3) eps at most, relative to (‖a‖ + ‖b‖)².
    """
    longest = 2 * float(squares.max()) ** 0.5
    return ((rows.shape[1] + 3) * eps) ** 0.5 * longest
