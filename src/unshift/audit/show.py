"""A contact sheet: one row per domain with example cases, outlines of their label maps, and the domain's histogram."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from unshift.audit.distribution import distribution, limits_of, spread
from unshift.audit.sheet import Row, draw
from unshift.contracts import Dataset
from unshift.errors import ConfigError, DataError
from unshift.sample import Case, Sample

log = logging.getLogger(__name__)

_KINDS = (".png", ".pdf", ".svg")
_COUNTED = 40
"""Images per domain that enter its histogram."""


def show(dataset: Dataset, path: Path, *, examples: int = 6) -> Path:
    """Write the contact sheet of ``dataset`` to ``path``; it appears there whole or not at all.

    Of a volume the slice with the most foreground is shown. A case that cannot be read is shown as such, with the
    reason. Histograms are means over at most 40 images per domain, inside the field of view where it is known.

    Args:
        dataset: any dataset.
        path: ends in ``.png``, ``.pdf`` or ``.svg``.
        examples: cases per domain, evenly spread over their sorted names.

    Returns:
        ``path``.

    Raises:
        ConfigError: another ending, or fewer than one example.
        DataError: the folder cannot be written to, or the dataset's files do not fit its layout.
    """
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(f"{path}: ends in {path.suffix!r}; {', '.join(_KINDS)} are required. Rename it.")
    if examples < 1:
        raise ConfigError(f"examples is {examples}; 1 or more are required. Raise it.")
    _save(draw(dataset.card.title, _rows(dataset, examples), dataset.task), path)
    return path


def _rows(dataset: Dataset, examples: int) -> list[Row]:
    read = []
    for domain in dataset.domains:
        cases = dataset.cases(domain)
        read.append((domain, cases, [(case, _read(dataset, case)) for case in spread(cases, examples)]))
    limits = limits_of([[sample for _, sample in row if isinstance(sample, Sample)] for _, _, row in read])
    return [
        Row(domain, cases, row, distribution(_images(dataset, cases), limit, dataset.task.channels))
        for (domain, cases, row), limit in zip(read, limits, strict=True)
    ]


def _read(dataset: Dataset, case: Case) -> Sample | str:
    try:
        return dataset.read_image(case) if _is_unlabeled(case) else dataset.read(case)
    except DataError as error:
        log.warning("%s", error)
        return str(error).replace(f"{dataset.root}/", "")


def _is_unlabeled(case: Case) -> bool:
    return bool(case.images) and case.labels is None


def _images(dataset: Dataset, cases: Sequence[Case]) -> Iterator[Sample]:
    for case in spread(cases, _COUNTED):
        try:
            yield dataset.read_image(case)
        except DataError as error:
            log.warning("not in the histogram: %s", error)


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        figure.savefig(temporary, dpi=150)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); a writable folder is required.") from None
    finally:
        temporary.unlink(missing_ok=True)
