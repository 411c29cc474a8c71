"""Batches: a pure function of seed, step, process and part, so that a repeated step sees what it saw before."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.contracts import Dataset
from unshift.errors import DataError
from unshift.geometry import InputConfig
from unshift.randomness import derive, numpy_generator
from unshift.sample import Batch, Case, Sample, UnlabeledBatch
from unshift.train.patches import Piece, cut, prepare_piece, slices
from unshift.train.sampling import Sampler
from unshift.train.settings import TrainConfig

T = TypeVar("T")


class _Stream(ABC):
    """Cases in seeded order, read, prepared, kept in memory up to the budget, and cut."""

    def __init__(
        self,
        dataset: Dataset,
        cases: Sequence[Case],
        *,
        input: InputConfig,  # noqa: A002
        config: TrainConfig,
        seed: int,
        prepare: Callable[[Sample], Sample],
    ) -> None:
        self.dataset, self.cases, self.input, self.config = dataset, tuple(cases), input, config
        self.prepare = prepare
        self.seed = derive(seed, type(self).__name__)
        self.sampler = Sampler(self.cases, config.sampling, seed=self.seed)
        self._cache: dict[str, Piece] = {}
        self._room = round(config.cache_gigabytes * 1e9)
        self._lock = threading.Lock()

    @abstractmethod
    def read(self, case: Case) -> Sample:
        """The sample as this stream may see it."""

    def fingerprints(self) -> dict[str, str]:
        """Case key -> 16 hexadecimal digits of its files' hash: what a resumed training must find again."""
        return {case.key: self.dataset.fingerprint(case)[:16] for case in self.cases}

    def _piece(self, case: Case) -> Piece:
        """From memory, or read and prepared; kept first come, first kept, for a random order gains nothing from LRU."""
        if case.key in self._cache:
            return self._cache[case.key]
        piece = prepare_piece(self.prepare(self.read(case)), self.input)
        with self._lock:
            if case.key not in self._cache and piece.bytes <= self._room:
                self._cache[case.key] = piece
                self._room -= piece.bytes
        return piece

    def _rows(self, step: int, rank: int, world: int, part: int) -> list[tuple[Case, Piece]]:
        size = self.config.batch_size
        start = (step * self.config.accumulate + part) * size
        return [
            (case, self._cut(case, position))
            for position, case in self.sampler.share(start, size, rank=rank, world=world)
        ]

    def _cut(self, case: Case, position: int) -> Piece:
        generator = numpy_generator(self.seed, "cut", position)
        return cut(self._piece(case), self.input, foreground=self.config.foreground, generator=generator)

    def _batch_seed(self, step: int, rank: int, part: int) -> int:
        return derive(self.seed, "batch", step, part, rank)


class Loader(_Stream):
    """Labeled batches of source domains.

    Args:
        dataset: where images and label maps come from.
        cases: what may be seen; the labels of no other case are read.
        input: what the network sees of a sample.
        config: batch size, sampling, share of foreground, memory.
        seed: of the training.
        prepare: preprocessing of one sample, before anything is cut.
    """

    def read(self, case: Case) -> Sample:
        """Image and label map."""
        sample = self.dataset.read(case)
        if sample.label_map is None:
            raise DataError(f"Case {case.key!r}: no label map; training needs one. Leave the case out of the sources.")
        return sample

    def batch(self, step: int, *, rank: int = 0, world: int = 1, part: int = 0) -> Batch:
        """The rows of process ``rank`` in forward pass ``part`` (0 … accumulate - 1) of ``step``.

        All processes together see exactly the images that one process would see.
        """
        rows = self._rows(step, rank, world, part)
        pieces = [piece for _, piece in rows]
        return Batch(
            images=_stacked(rows, lambda piece: piece.image),
            domains=tuple(case.domain for case, _ in rows),
            cases=tuple(case.name for case, _ in rows),
            seed=self._batch_seed(step, rank, part),
            fields_of_view=_fields(pieces),
            label_maps=_stacked(rows, lambda piece: piece.label_map),
        )


class UnlabeledLoader(_Stream):
    """Unlabeled batches, for adaptation: of the dataset only ``read_image`` is called. Arguments as :class:`Loader`."""

    def read(self, case: Case) -> Sample:
        """The image alone."""
        return self.dataset.read_image(case).unlabeled()

    def volumes(self) -> Iterator[Float[Tensor, "slice channel *space"]]:
        """Each case once, all its slices as network inputs; a picture has one."""
        for case in self.cases:
            generator = numpy_generator(self.seed, "volume", case.key)
            yield torch.stack([part.image for part in slices(self._piece(case), self.input, generator=generator)])

    def batch(self, step: int, *, rank: int = 0, world: int = 1, part: int = 0) -> UnlabeledBatch:
        """As :meth:`Loader.batch`, without labels."""
        rows = self._rows(step, rank, world, part)
        return UnlabeledBatch(
            images=_stacked(rows, lambda piece: piece.image),
            domains=tuple(case.domain for case, _ in rows),
            cases=tuple(case.name for case, _ in rows),
            seed=self._batch_seed(step, rank, part),
            fields_of_view=_fields([piece for _, piece in rows]),
        )


class Ahead(Generic[T]):
    """Calls ``draw(step, part)`` in background threads a few calls before the result is asked for.

    Order and content are those of calling it directly, because ``draw`` is pure; what it raises is raised where the
    result is asked for.

    Args:
        draw: step, part -> batch.
        workers: threads; 0 calls ``draw`` when asked.
        steps: no step from here on is drawn.
        parts: of each step.
    """

    def __init__(self, draw: Callable[[int, int], T], *, workers: int, steps: int, parts: int = 1) -> None:
        self.draw, self.steps, self.parts = draw, steps, parts
        self._depth = 2 * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        self._waiting: dict[int, Future[T]] = {}

    def __call__(self, step: int, part: int = 0) -> T:
        """The batch of ``step`` and ``part``."""
        if self._pool is None:
            return self.draw(step, part)
        now = step * self.parts + part
        for place in range(now, min(now + self._depth + 1, self.steps * self.parts)):
            if place not in self._waiting:
                self._waiting[place] = self._pool.submit(self.draw, *divmod(place, self.parts))
        return self._waiting.pop(now).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _stacked(rows: Sequence[tuple[Case, Piece]], part: Callable[[Piece], Tensor | None]) -> Tensor:
    """One tensor of all rows.

    Raises:
        DataError: rows differ in their number of channels.
    """
    tensors = [tensor for _, piece in rows if (tensor := part(piece)) is not None]
    first = tensors[0].shape
    for (case, _), tensor in zip(rows, tensors, strict=True):
        if tensor.shape != first:
            raise DataError(
                f"Case {case.key!r}: network input is {tuple(tensor.shape)} but that of {rows[0][0].key!r} is "
                f"{tuple(first)}; all cases need the same number of channels. Leave one of them out, or convert it."
            )
    return torch.stack(tensors)


def _fields(pieces: Sequence[Piece]) -> Tensor | None:
    if all(piece.field_of_view is None for piece in pieces):
        return None
    everything = [torch.ones(piece.image.shape[1:], dtype=torch.bool) for piece in pieces]
    return torch.stack(
        [f if f is not None else e for f, e in zip((p.field_of_view for p in pieces), everything, strict=True)]
    )
