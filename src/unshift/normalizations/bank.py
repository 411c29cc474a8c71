"""A bank of source images as references: embeddings, color statistics and histograms of each, never a pixel.

Entries stand in the order of their names, so that a bank does not depend on the order in which it was built: building
at once, extending, and going on after a stop give the same file, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unshift.errors import BundleError, ConfigError, DataError
from unshift.normalizations.histograms import BINS

FORMAT = "1"
_STATISTICS = "statistics."
_TEXTS = "texts"
_FIELDS = ("names", "patients", "flaws", "digests")


@dataclass(frozen=True)
class Entry:
    """One source image.

    Args:
        name: ``domain/case``.
        patient: whose image it is; images of one patient are not compared with each other.
        flaw: why it is no reference (nearly black, …); empty when nothing is wrong.
        digest: SHA-256 of what was read, by which a changed file is told; empty when unknown.
    """

    name: str
    patient: str
    flaw: str
    embedding: Float[Tensor, " feature"]
    histogram: Float[Tensor, " bin"]
    statistics: Mapping[str, Float[Tensor, " size"]]
    digest: str = ""


@dataclass(frozen=True)
class Bank:
    """Entries in the order of their names.

    Args:
        fingerprint: of the embedding and of what images went through before; empty without embeddings.
        embeddings: float32 [n, feature]; feature is 0 without an embedding. Of a bank read from a file, on the disk.
        histograms: float32 [n, 512], shares of pixels.
        statistics: color method -> float32 [n, size].
    """

    fingerprint: Mapping[str, str]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    flaws: tuple[str, ...]
    digests: tuple[str, ...]
    embeddings: Float[Tensor, "n feature"]
    histograms: Float[Tensor, "n bin"]
    statistics: Mapping[str, Float[Tensor, "n size"]]

    @classmethod
    def of(cls, entries: Iterable[Entry], fingerprint: Mapping[str, str]) -> Self:
        """A bank of one entry or more.

        Raises:
            DataError: no entry, or a name that stands twice.
        """
        ordered = sorted(entries, key=lambda entry: entry.name)
        if not ordered:
            raise DataError("bank: no source image; at least one is required.")
        return cls(
            dict(fingerprint),
            _once([entry.name for entry in ordered]),
            tuple(entry.patient for entry in ordered),
            tuple(entry.flaw for entry in ordered),
            tuple(entry.digest for entry in ordered),
            torch.stack([entry.embedding for entry in ordered]),
            torch.stack([entry.histogram for entry in ordered]),
            {name: torch.stack([e.statistics[name] for e in ordered]) for name in ordered[0].statistics},
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def allowed(self) -> Tensor:
        """Bool [n]: which entries nothing speaks against.

        Raises:
            DataError: none is left.
        """
        found = torch.tensor([not flaw for flaw in self.flaws])
        if not found.any():
            raise DataError(
                f"bank: all {len(self)} source images are {' or '.join(sorted(set(self.flaws)))}; one that is not is "
                "required as a reference. Check the images."
            )
        return found

    def joined(self, *others: Bank) -> Bank:
        """All entries in one bank.

        Raises:
            BundleError: another fingerprint, or statistics of other methods.
            DataError: a name that stands in two of them.
        """
        banks = (self, *others)
        for other in others:
            require_fingerprint(other.fingerprint, self.fingerprint, what="part of the bank")
            if other.statistics.keys() != self.statistics.keys():
                raise BundleError(
                    f"bank: statistics of {', '.join(other.statistics)} to join with {', '.join(self.statistics)}; "
                    "both need the same. Build the bank again."
                )
        names = [name for bank in banks for name in bank.names]
        order = sorted(range(len(names)), key=names.__getitem__)
        texts = {
            field: tuple([t for bank in banks for t in getattr(bank, field)][i] for i in order) for field in _FIELDS[1:]
        }
        place = torch.tensor(order)
        return Bank(
            fingerprint=self.fingerprint,
            names=_once([names[i] for i in order]),
            embeddings=torch.cat([bank.embeddings for bank in banks])[place],
            histograms=torch.cat([bank.histograms for bank in banks])[place],
            statistics={n: torch.cat([bank.statistics[n] for bank in banks])[place] for n in self.statistics},
            **texts,
        )

    def save(self, path: Path) -> None:
        """Write safetensors under a temporary name beside ``path``, then rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        texts = {field: getattr(self, field) for field in _FIELDS}
        tensors = {
            _TEXTS: to_bytes({"fingerprint": dict(sorted(self.fingerprint.items())), **texts}),
            "embeddings": self.embeddings.contiguous(),
            "histograms": self.histograms.contiguous(),
            **{_STATISTICS + name: values.contiguous() for name, values in self.statistics.items()},
        }
        save_file(tensors, temporary, metadata={"format": FORMAT})  # one entry: of several the order would be random
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The bank in a file; its tensors stay on the disk until they are looked at.

        Raises:
            ConfigError: no such file.
            BundleError: damaged, or no bank of this format.
        """
        if not path.is_file():
            raise ConfigError(f"{path}: no such bank. Build it: unshift bank FOLDER -o {path.name}.")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path}: cannot be read as a bank ({error}). Build it again.") from None
        if metadata.get("format") != FORMAT or _TEXTS not in tensors:
            raise BundleError(f"{path}: no bank of format {FORMAT}; `unshift bank` writes one. Build it again.")
        statistics = {n.removeprefix(_STATISTICS): v for n, v in tensors.items() if n.startswith(_STATISTICS)}
        texts = from_bytes(tensors[_TEXTS])
        found = cls(
            fingerprint=texts["fingerprint"],
            embeddings=tensors["embeddings"],
            histograms=tensors["histograms"],
            statistics=statistics,
            **{field: tuple(texts[field]) for field in _FIELDS},
        )
        rows = {len(found.embeddings), len(found.histograms), *(len(v) for v in statistics.values())}
        if rows != {len(found)} or found.histograms.shape[1:] != (BINS,):
            raise BundleError(f"{path}: {len(found)} names and tensors of {sorted(rows)} rows. Build the bank again.")
        return found


def require_fingerprint(found: Mapping[str, str], required: Mapping[str, str], *, what: str) -> None:
    """Refuse vectors that were not made as the query's are.

    Raises:
        BundleError: names what differs.
    """
    differing = [key for key in sorted({*found, *required}) if found.get(key) != required.get(key)]
    if differing:
        lines = [f"  {key}: {_short(found.get(key))} there, {_short(required.get(key))} here" for key in differing]
        raise BundleError(
            "\n".join([f"{what}: was embedded in another way than images are here; both must be the same.", *lines])
            + "\nBuild the bank with this model and preprocessing (unshift bank FOLDER --bundle …)."
        )


def to_bytes(plain: Any) -> Tensor:
    """Plain data as a tensor of UTF-8 JSON, for a state that may hold tensors alone."""
    return torch.frombuffer(bytearray(json.dumps(plain, ensure_ascii=False).encode()), dtype=torch.uint8)


def from_bytes(content: Tensor) -> Any:
    """The inverse of :func:`to_bytes`."""
    return json.loads(content.numpy().tobytes())


def _short(value: str | None) -> str:
    return "nothing" if value is None else value if len(value) < 48 else f"{value[:16]}…"


def _once(names: Sequence[str]) -> tuple[str, ...]:
    doubled = sorted({one for one, other in pairwise(names) if one == other})
    if doubled:
        raise DataError(
            f"bank: {len(doubled)} name(s) stand twice, such as {doubled[0]!r}; each must be one image's. Rename them."
        )
    return tuple(names)
