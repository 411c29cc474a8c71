"""The rows of a matrix that are nearest to a query by cosine: exact, over a matrix that may lie on disk.

Products give every cosine up to a known rounding error; rows that may be among the nearest by that error are computed
again in float64, which decides. The products are of float32, or, where a float16 copy of many rows is at hand, of that:
a single query is as fast as memory is read, and the copy is half as long. Cosines that agree to 12 digits are ties, and
the first row wins, so that the order of a bank (its names') alone breaks them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unshift.errors import ShapeMismatch

_QUERIES = 64
"""At once: their cosines to a million rows are 256 MB."""
_DIGITS = 12
_HALF_ERROR = 5 * 2**-11
"""Of a cosine from float16: rows, query and result are rounded by 2⁻¹¹, sums are in float32; the rest is margin."""
_WORTH_A_COPY = 2**24
"""Numbers; below, a query takes a few milliseconds anyway."""
PROBED = 2000
"""Rows whose own nearest is looked for to learn what is usual."""
RARE = 0.01
"""Share of source images that may be called unlike the others."""


def nearest(
    queries: Float[Tensor, "query k"],
    rows: Float[Tensor, "n k"],
    *,
    count: int = 1,
    half: Float[Tensor, "n k"] | None = None,
) -> tuple[Float[Tensor, "query count"], Int[Tensor, "query count"]]:
    """Cosines, float64, and indices of the nearest rows of each query, nearest first.

    Args:
        queries, rows: float32 unit vectors.
        count: how many; all rows where there are fewer.
        half: of :func:`half_of`; the result is the same.

    Raises:
        ShapeMismatch: no row, or vectors of different lengths.
    """
    _check(queries, rows)
    count = min(count, len(rows))
    pairs = (pair for part in queries.split(_QUERIES) for pair in _cosines(part, rows, half))
    error = _error(rows) if half is None else _HALF_ERROR
    found = [_ranked(cosines, query, rows, count, error=error) for query, cosines in pairs]
    return torch.stack([cosines for cosines, _ in found]), torch.stack([indices for _, indices in found])


def half_of(rows: Float[Tensor, "n k"]) -> Float[Tensor, "n k"] | None:
    """A float16 copy in memory, for many queries one by one; None where rows are so few that it would not pay."""
    return rows.half() if rows.numel() >= _WORTH_A_COPY else None


def rescored(
    query: Float[Tensor, " k"], rows: Float[Tensor, "n k"], candidates: Int[Tensor, " some"], count: int
) -> tuple[Float[Tensor, " count"], Int[Tensor, " count"]]:
    """The nearest of some rows by float64 cosines; of ties the first."""
    candidates = candidates.sort().values
    exact = rows[candidates].double() @ query.double()
    order = (-exact.round(decimals=_DIGITS)).sort(stable=True).indices[:count]
    return exact[order], candidates[order]


def usual_likeness(rows: Float[Tensor, "n k"], groups: Sequence[str]) -> float:
    """The cosine that 99 of 100 rows have to their nearest row of another group; -1 where there is one group.

    A query whose nearest row is below it is less like the rows than they are like each other. Groups are patients:
    a neighboring frame of the same video says nothing. At most 2,000 rows, evenly spread, are asked.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    if len(places) < 2:
        return -1.0
    codes = torch.tensor([places[name] for name in groups], device=rows.device)
    asked = torch.arange(0, len(rows), -(-len(rows) // PROBED), device=rows.device)
    best = []
    for part in asked.split(_QUERIES):
        cosines = rows @ rows[part].T
        cosines[codes[:, None] == codes[part]] = -1.0
        best.append(cosines.amax(0))
    return float(torch.cat(best).double().quantile(RARE))


def _cosines(queries: Tensor, rows: Tensor, half: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """Each query with its cosines to all rows; one query is one pass over the matrix."""
    if half is not None:
        return list(zip(queries, F.linear(queries.half(), half).float(), strict=True))
    if len(queries) == 1:
        return [(queries[0], torch.mv(rows, queries[0]))]
    return list(zip(queries, (rows @ queries.T).T, strict=True))


def _error(rows: Tensor) -> float:
    """Of a product of unit vectors in float32."""
    return (rows.shape[1] + 3) * torch.finfo(torch.float32).eps


def _ranked(cosines: Tensor, query: Tensor, rows: Tensor, count: int, *, error: float) -> tuple[Tensor, Tensor]:
    least = cosines.topk(count).values[-1] if count > 1 else cosines.max()
    candidates = (cosines >= least - 2 * error).nonzero().flatten()
    return rescored(query, rows, candidates, count)


def _check(queries: Tensor, rows: Tensor) -> None:
    if not len(rows) or rows.shape[1] != queries.shape[1]:
        raise ShapeMismatch(
            f"nearest: queries are {list(queries.shape)} and rows {list(rows.shape)}; one row or more, of the queries' "
            "length, is required. Embed both in the same way."
        )
