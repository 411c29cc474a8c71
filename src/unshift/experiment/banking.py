"""A bank of reference images from a folder: read from the disk one by one, gone on with after a stop, extended later.

Parts of some hundred images are written beside the bank and renamed as they are done; when all are there they become
the bank and are removed. An image that is in the bank already, with the same content, is not described again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unshift import discover
from unshift.config import MemberRef, parse
from unshift.contracts import Dataset
from unshift.embedding import Embedding
from unshift.errors import BundleError, ConfigError, DataError, UnshiftError
from unshift.experiment.source import open_images
from unshift.experiment.training import apply
from unshift.export.bundle import Bundle
from unshift.normalizations.bank import Bank, Entry, require_fingerprint
from unshift.normalizations.color_methods import color_method
from unshift.normalizations.references import describe, fingerprint_of, global_reference
from unshift.sample import Case, Task

PART = 256
"""Images in a part: what a stop may cost."""
NO_EMBEDDING = "none"
_PHOTOGRAPHS = Task(3, ("background", "foreground"))
Listener = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Recipe:
    """How images are described.

    Args:
        methods: color methods whose statistics are kept.
        embedding: member and settings; the name ``none`` leaves embeddings out.
        bundle: a model, for the embedding ``segmenter``; its preprocessing is applied whatever the embedding is.
    """

    methods: Sequence[str] = ("lab",)
    embedding: MemberRef = MemberRef(name="segmenter")  # noqa: RUF009 - frozen
    bundle: Bundle | None = None

    def build(self) -> Embedding | None:
        """The embedding with its weights, or None where there is to be none.

        Raises:
            UnknownName: no such embedding or color method.
            ConfigError: the segmenter is asked for without a bundle.
            MissingDependency, DataError, BundleError: weights that cannot be had or do not fit.
        """
        for name in self.methods:
            color_method(name, where="--method")
        if self.embedding.name == NO_EMBEDDING:
            return None
        member = discover.load("embeddings", self.embedding.name, where="--embedding")
        config = parse(member.Config, self.embedding.settings, where="--embedding")
        network, size = (self.bundle.network, self.bundle.input.size) if self.bundle else (None, ())
        built: Embedding = member(config, network, size)
        built.begin()
        return built.eval()


@dataclass(frozen=True)
class Built:
    """What came of building.

    Args:
        bank: as written.
        added: images described now or before the stop that this went on from.
        kept: images that the bank had already.
        failed: images that could not be used, and why.
    """

    bank: Bank
    added: int
    kept: int
    failed: tuple[tuple[str, str], ...]


def build_bank(folder: Path, output: Path, recipe: Recipe, *, listener: Listener | None = None) -> Built:
    """Describe the images of ``folder`` and write ``output``, or add to it where it is a bank already.

    Args:
        folder: in any layout that source images may have.
        output: the bank's file; ``<output>.parts`` beside it is used while building.
        listener: is told (done, of all, image).

    Raises:
        ConfigError: the output is a folder or something other than a bank.
        BundleError: the bank there, or a part of one, was embedded in another way.
        DataError: no image can be used, or one has changed since it was put into the bank.
    """
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; --output names the bank's file. Give another.")
    embedding = recipe.build()
    before = recipe.bundle.preprocessing if recipe.bundle else ()
    fingerprint = fingerprint_of(embedding, before) if embedding else {}
    dataset = open_images(folder, recipe.bundle.task if recipe.bundle else _PHOTOGRAPHS)
    cases = [case for domain in dataset.domains for case in dataset.cases(domain)]
    kept = Bank.load(output) if output.exists() else None
    parts = _Parts(output, fingerprint, recipe.methods)
    if kept is not None:
        parts.require(kept, output)
    known = {**(_digests(kept) if kept else {}), **parts.digests()}
    found = _entries(dataset, cases, known, recipe, embedding)
    failed = parts.write(found, listener or (lambda done, total, name: None), len(cases))
    bank = parts.join(kept, folder, failed)
    bank.save(output)
    parts.remove()
    old = len(kept) if kept else 0
    return Built(bank, len(bank) - old, len(cases) - len(failed) - (len(bank) - old), failed)


def describe_bank(bank: Bank) -> dict[str, str | int]:
    """What a person wants to know of a bank."""
    method = next(iter(bank.statistics))
    return {
        "images": len(bank),
        "patients": len(set(bank.patients)),
        "not used as references": sum(map(bool, bank.flaws)),
        "embedding": bank.fingerprint.get("model", NO_EMBEDDING),
        "numbers in an embedding": bank.embeddings.shape[1],
        "color methods": ", ".join(bank.statistics),
        "global reference": global_reference(bank, method, norm="l2").name,
    }


Outcome = tuple[Case, Entry | UnshiftError | None]


def _entries(
    dataset: Dataset, cases: Sequence[Case], known: dict[str, str], recipe: Recipe, embedding: Embedding | None
) -> Iterator[Outcome]:
    """Every case with its description, with the error that it met, or with None where it is known."""
    steps = recipe.bundle.preprocessing if recipe.bundle else ()
    for case in cases:
        try:
            digest = _digest(case)
            if known.get(case.key, digest) != digest:
                raise DataError(
                    f"{case.images[0]}: the bank has another image of the name {case.key!r}. Rename it, or build the "
                    "bank anew under another name."
                )
            if case.key in known:
                yield case, None
                continue
            sample = apply(steps, dataset.read_image(case))
            entry = describe(sample, recipe.methods, embedding, digest=digest)
        except UnshiftError as error:
            yield case, error
            continue
        known[case.key] = digest
        yield case, entry


def _digest(case: Case) -> str:
    digest = hashlib.sha256()
    for path in (*case.images, *([case.field_of_view] if case.field_of_view else [])):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                digest.update(file.read_bytes())
            except OSError as error:
                raise DataError(f"{file}: cannot be read ({error}). Check that it exists and its rights.") from None
    return digest.hexdigest()


def _digests(bank: Bank) -> dict[str, str]:
    return dict(zip(bank.names, bank.digests, strict=True))


class _Parts:
    """Banks of some images each, in a folder beside the bank that they will be."""

    def __init__(self, output: Path, fingerprint: dict[str, str], methods: Sequence[str]) -> None:
        self._folder = output.with_name(f"{output.name}.parts")
        self._fingerprint, self._methods = fingerprint, tuple(methods)
        self._done = [(path, Bank.load(path)) for path in sorted(self._folder.glob("*.safetensors"))]
        for path, bank in self._done:
            self.require(bank, path)

    def require(self, bank: Bank, path: Path) -> None:
        """Raise :class:`BundleError` for a bank of another making."""
        require_fingerprint(bank.fingerprint, self._fingerprint, what=str(path))
        if set(bank.statistics) != set(self._methods):
            raise BundleError(
                f"{path}: has statistics of {', '.join(bank.statistics)}; {', '.join(self._methods)} were asked for. "
                "Ask for the same methods, or write to another file."
            )

    def digests(self) -> dict[str, str]:
        """Names and contents that parts hold."""
        return {name: digest for _, bank in self._done for name, digest in _digests(bank).items()}

    def write(self, found: Iterator[Outcome], listener: Listener, total: int) -> tuple[tuple[str, str], ...]:
        """Write parts as they fill; returns what failed."""
        entries: list[Entry] = []
        failed: list[tuple[str, str]] = []
        try:
            for done, (case, outcome) in enumerate(found, start=1):
                if isinstance(outcome, UnshiftError):
                    failed.append((str(case.images[0]), str(outcome)))
                elif outcome is not None:
                    entries.append(outcome)
                if len(entries) == PART:
                    self._keep(entries)
                    entries = []
                listener(done, total, case.key)
        finally:  # also of a part that a stop leaves open
            if entries:
                self._keep(entries)
        return tuple(failed)

    def join(self, kept: Bank | None, folder: Path, failed: tuple[tuple[str, str], ...]) -> Bank:
        """The bank that was there and all parts.

        A stop between renaming the bank and removing the parts leaves parts whose images the bank has: not again.
        """
        banks = [] if kept is None else [kept]
        held = set(kept.names) if kept else set()
        banks += [bank for _, bank in self._done if not held.issuperset(bank.names)]
        if not banks:
            reasons = f" The first: {failed[0][1]}" if failed else ""
            raise DataError(f"{folder}: none of {len(failed)} image(s) can be used; one is required.{reasons}")
        return banks[0].joined(*banks[1:])

    def remove(self) -> None:
        """When the bank is written."""
        for path, _ in self._done:
            path.unlink()
        if self._folder.is_dir():
            self._folder.rmdir()

    def _keep(self, entries: list[Entry]) -> None:
        path = self._folder / f"{len(self._done):06d}.safetensors"
        Bank.of(entries, self._fingerprint).save(path)
        self._done.append((path, Bank.load(path)))
