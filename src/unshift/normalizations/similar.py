"""The source images that are most like an image: their embeddings, color statistics, names, and the search in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.errors import BundleError
from unshift.normalizations.approximate import ApproximateIndex
from unshift.normalizations.bank import Bank
from unshift.normalizations.nearest import half_of, nearest, usual_likeness
from unshift.normalizations.references import Chosen

KIND = "local"
_TENSORS = ("embeddings", "statistics", "usual")
_TEXTS = ("names", "flawed", "fingerprint")
_PREFIX, _INDEX = "local.", "index"


@dataclass
class Similar:
    """All source images as they lie (on the disk, where a bank does); flawed ones are passed over.

    Args:
        names: ``domain/case``.
        flawed: rows that may be no reference.
        fingerprint: of how embeddings were made.
        embeddings: float32 [n, feature], unit vectors.
        statistics: float32 [n, size], of one color method.
        usual: float64, the cosine that 99 of 100 of the others have to the nearest of another patient.
        index: for approximate search.
    """

    names: tuple[str, ...]
    flawed: tuple[int, ...]
    fingerprint: Mapping[str, str]
    embeddings: Float[Tensor, "n feature"]
    statistics: Float[Tensor, "n size"]
    usual: Float[Tensor, ""]
    index: ApproximateIndex | None = None

    @classmethod
    def of(cls, bank: Bank, method: str, *, is_approximate: bool) -> Self:
        """The images of a bank. Raises :class:`MissingDependency` where approximate search has no package."""
        place = bank.allowed.nonzero().flatten()
        rows = bank.embeddings if len(place) == len(bank) else bank.embeddings[place]
        usual = usual_likeness(rows, [bank.patients[i] for i in place])
        return cls(
            names=bank.names,
            flawed=tuple(index for index, flaw in enumerate(bank.flaws) if flaw),
            fingerprint=dict(bank.fingerprint),
            embeddings=bank.embeddings,
            statistics=bank.statistics[method],
            usual=torch.tensor(usual, dtype=torch.float64),
            index=ApproximateIndex.build(bank.embeddings) if is_approximate else None,
        )

    def nearest(self, query: Float[Tensor, "1 feature"], count: int) -> list[tuple[Chosen, float]]:
        """The ``count`` most similar that may be references (all, where they are fewer) with their cosines.

        All bear a warning when the nearest is less similar than usual.
        """
        kept = self._unflawed(query, count, self.index)
        if not kept:  # the index found flawed ones alone, which an exact search, asking for more than these, cannot
            kept = self._unflawed(query, count, None)
        best, usual = kept[0][0], float(self.usual)
        words = f"no similar source image: cosine {best:.4f}, usually at least {usual:.4f}" if best < usual else ""
        return [(Chosen(KIND, self.names[index], self.statistics[index], words), likeness) for likeness, index in kept]

    def _unflawed(
        self, query: Float[Tensor, "1 feature"], count: int, index: ApproximateIndex | None
    ) -> list[tuple[float, int]]:
        wanted, flawed = count + len(self.flawed), frozenset(self.flawed)
        if index is not None:
            cosines, indices = index.search(query[0], self.embeddings, count=wanted)
        else:
            cosines, indices = (part[0] for part in nearest(query, self.embeddings, count=wanted, half=self._half))
        pairs = zip(cosines.tolist(), indices.tolist(), strict=True)
        return [pair for pair in pairs if pair[1] not in flawed][:count]

    @cached_property
    def _half(self) -> Tensor | None:
        """The copy that makes a query fast, made for the first one."""
        return half_of(self.embeddings)

    def tensors(self) -> dict[str, Tensor]:
        """The part of a state that is numbers."""
        state = {_PREFIX + name: getattr(self, name) for name in _TENSORS}
        return state if self.index is None else {**state, _INDEX: self.index.to_bytes()}

    def texts(self) -> dict[str, Any]:
        """The part of a state that is names."""
        return {name: getattr(self, name) for name in _TEXTS}

    @staticmethod
    def keys(texts: Mapping[str, Any], *, is_approximate: bool) -> set[str]:
        """Names of the tensors that belong to these texts; none where they hold no source images."""
        if "names" not in texts:
            return set()
        return {_PREFIX + name for name in _TENSORS} | ({_INDEX} if is_approximate else set())

    @classmethod
    def load(cls, state: Mapping[str, Tensor], texts: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`tensors` and :meth:`texts`. Raises :class:`BundleError` where texts lack a part."""
        if missing := sorted(set(_TEXTS) - set(texts)):
            raise BundleError(f"dcin: the state of source images lacks {missing}. Use the version that wrote it.")
        return cls(
            names=tuple(texts["names"]),
            flawed=tuple(texts["flawed"]),
            fingerprint=texts["fingerprint"],
            index=ApproximateIndex.from_bytes(state[_INDEX]) if _INDEX in state else None,
            **{name: state[_PREFIX + name] for name in _TENSORS},
        )
