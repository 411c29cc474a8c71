"""An approximate index for banks of more than a million rows (needs the extra [index], faiss-cpu).

Rows are assigned to the nearest of √n to 16 √n centers and kept as 8 bits a number; a query looks into the lists of the
nearest centers alone. What it finds is ranked again by the exact cosines of the rows themselves (on disk, where they
are mapped from there). :func:`recall` measures how often the exact nearest row is among what was found.
"""

from __future__ import annotations

import importlib
from typing import Any, Self

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from unshift.errors import BundleError, MissingDependency
from unshift.normalizations.nearest import nearest, rescored

LISTS_PER_ROOT = 4
"""Lists are this many times √n."""
TRAINED_ON = 64
"""Rows a list, on which centers are found."""
PROBED_SHARE = 0.02
"""Share of the lists that a query looks into."""
KEPT = 16
"""What an approximate search gives at least, before it is ranked exactly."""
_CHUNK = 2**16


class ApproximateIndex:
    """An inverted file of rows; made by :meth:`build` or :meth:`from_bytes`."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, rows: Float[Tensor, "n k"]) -> Self:
        """Index float32 unit vectors; a part of them at a time is in memory beside the index.

        Raises:
            MissingDependency: faiss is not installed.
        """
        faiss, (count, size) = _faiss(), rows.shape
        lists = max(1, min(round(LISTS_PER_ROOT * count**0.5), count // 39))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(size), size, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.by_residual = False
        index.train(rows[:: max(1, count // (TRAINED_ON * lists))].contiguous().numpy())
        for part in rows.split(_CHUNK):
            index.add(part.numpy())
        index.nprobe = max(1, round(PROBED_SHARE * lists))
        return cls(index)

    def search(
        self, query: Float[Tensor, " k"], rows: Float[Tensor, "n k"], *, count: int = 1
    ) -> tuple[Float[Tensor, " count"], Int[Tensor, " count"]]:
        """Exact cosines, float64, and indices of the rows found, nearest first; ``count`` of them at most."""
        _, found = self._index.search(query[None].numpy(), max(KEPT, 4 * count))
        indices = torch.from_numpy(found[0])
        return rescored(query, rows, indices[indices >= 0], count)

    def to_bytes(self) -> UInt8[Tensor, " byte"]:
        """The index, to be stored beside its rows."""
        return torch.from_numpy(_faiss().serialize_index(self._index))

    @classmethod
    def from_bytes(cls, content: UInt8[Tensor, " byte"]) -> Self:
        """The inverse of :meth:`to_bytes`.

        Raises:
            MissingDependency: faiss is not installed.
            BundleError: other bytes.
        """
        try:
            return cls(_faiss().deserialize_index(content.numpy()))
        except RuntimeError as error:
            raise BundleError(
                f"index of the bank: damaged ({' '.join(str(error).split())[:200]}). Build it again."
            ) from None


def recall(index: ApproximateIndex, queries: Float[Tensor, "query k"], rows: Float[Tensor, "n k"]) -> float:
    """Share of queries whose exact nearest row the index finds."""
    exact = nearest(queries, rows)[1][:, 0].tolist()
    found = [index.search(query, rows)[1][:1].tolist() for query in queries]
    return sum([row] == one for row, one in zip(exact, found, strict=True)) / len(exact)


def require() -> None:
    """Raise :class:`MissingDependency` where faiss is not installed."""
    _faiss()


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MissingDependency(
            "search: approximate needs faiss, which is not installed. Run `pip install 'unshift[index]'`, "
            "or set `search: exact`."
        ) from None
