"""Which case stands at which place of the stream of images: a pure function of seed and position."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from unshift.errors import ConfigError, ProtocolError
from unshift.randomness import numpy_generator
from unshift.sample import Case


class Sampler:
    """An endless stream of cases, one seeded permutation per epoch.

    ``pooled`` permutes all cases together, so that a domain counts by its number of cases. ``balanced`` takes the
    domains in turn, each from its own permutations, so that any stretch of the stream holds equally many images of
    every domain, give or take one.

    Raises:
        ProtocolError: there is no case.
    """

    def __init__(self, cases: Sequence[Case], sampling: Literal["pooled", "balanced"], *, seed: int) -> None:
        if not cases:
            raise ProtocolError("Loader: 0 cases; at least one is required. Check the split and the source domains.")
        self.seed = seed
        if sampling == "pooled":
            self.pools = {"": tuple(cases)}
        else:
            domains = sorted({case.domain for case in cases})
            self.pools = {d: tuple(case for case in cases if case.domain == d) for d in domains}

    def at(self, position: int) -> Case:
        """The case at a place of the stream, 0 or more."""
        name = tuple(self.pools)[position % len(self.pools)]
        pool, turn = self.pools[name], position // len(self.pools)
        return pool[permutation(self.seed, name, turn // len(pool), len(pool))[turn % len(pool)]]

    def share(self, start: int, count: int, *, rank: int = 0, world: int = 1) -> list[tuple[int, Case]]:
        """(position, case) of the rows that process ``rank`` of ``world`` takes of the batch at ``start``.

        A balanced batch is dealt out domain by domain, so that every process meets all domains.

        Raises:
            ConfigError: the batch cannot be shared equally; a mean over processes would not be the batch's mean.
        """
        if count % world:
            raise ConfigError(
                f"batch_size: {count} images on {world} processes; every process needs equally many. "
                f"Set batch_size to a multiple of {world}."
            )
        rows = [(position, self.at(position)) for position in range(start, start + count)]
        if len(self.pools) > 1:
            rows.sort(key=lambda row: row[1].domain)
        return rows[rank::world]


@lru_cache(maxsize=256)
def permutation(seed: int, pool: str, epoch: int, size: int) -> tuple[int, ...]:
    """0 … size - 1 in the order of one epoch."""
    return tuple(numpy_generator(seed, "order", pool, epoch).permutation(size).tolist())
