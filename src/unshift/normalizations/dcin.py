"""Colors of a chosen reference: of the source's most typical image, its most similar one, or one that a user names.

Shah, Fukuda and Cap, "Color-Quality Invariance for Robust Medical Image Segmentation", arXiv 2502.07200 (DCIN):
``global`` is GRIS, the medoid of 8 × 8 × 8 color histograms; ``local`` is LRIS, the nearest by cosine of embeddings;
a file is ExRI. Each reference gives one view, and their predictions are averaged on probabilities (paper: on masks;
code: on logits, which `predict.average: logits` does).

Differences from the authors' code. Statistics, histograms and embeddings are taken inside the field of view. Colors
move in floating point in CIE-Lab (``lab``, the code's space without its 8 bits and swapped channels, which
``lab_8bit`` has; the paper cites ``reinhard``). Embeddings default to the segmenter's own bottleneck; the paper's
Swin-V2-Large is ``timm``. Nearly black, over-exposed and constant source images are never references. An image whose
nearest source image is less similar to it than 99 of 100 source images have one among other patients is warned of, and
its colors are moved all the same.

State holds statistics and embeddings of source images, and their names: no pixels. See ``unshift bank`` for a bank
that is built once.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor

from unshift import discover
from unshift.config import Config, MemberRef, parse
from unshift.contracts import Network, Normalization
from unshift.embedding import Embedding
from unshift.errors import BundleError, ConfigError, DataError, UnknownName
from unshift.normalizations import approximate, histograms, inside, medoid, references
from unshift.normalizations import nearest as nearest_rows
from unshift.normalizations.approximate import ApproximateIndex
from unshift.normalizations.bank import Bank, from_bytes, require_fingerprint, to_bytes
from unshift.normalizations.color_methods import color_method, degenerate, source_files
from unshift.normalizations.histograms import Norm
from unshift.normalizations.nearest import half_of, nearest, usual_likeness
from unshift.normalizations.references import (
    Chosen,
    as_batch,
    describe,
    expert_reference,
    fingerprint_of,
    global_reference,
    is_picture,
    read_picture,
    source_reference,
)
from unshift.sample import Reference, Sample

logger = logging.getLogger(__name__)
GLOBAL, LOCAL = "global", "local"
_EMBEDDING = "embedding."


class DcinConfig(Config):
    """``references``: any of ``global``, ``local``, source images (``domain/case``, with their field of view) and files
    of photographs (whose field of view is all of them), one view each (``local``: ``nearest`` of them). ``method``: of
    `unshift.normalizations.color_methods`. ``norm``: of histograms. ``embedding``: a member of that family, or
    ``timm:MODEL``. ``bank``: a file that `unshift bank` wrote, in place of the training images. ``search``:
    ``approximate`` for banks of more than a million images (extra [index]). ``flawed``: what happens to a named picture
    that is nearly black, over-exposed or constant, whose colors spoil every image.
    """

    references: tuple[str, ...] = Field(default=(GLOBAL, LOCAL), min_length=1)
    method: str = "lab"
    norm: Norm = "l2"
    embedding: MemberRef = MemberRef(name="segmenter")
    bank: Path | None = None
    nearest: int = Field(default=1, ge=1)
    search: Literal["exact", "approximate"] = "exact"
    flawed: Literal["refuse", "use"] = "refuse"

    @field_validator("references")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({_without_folder(reference) for reference in value}) < len(value):
            raise ValueError(f"references are {list(value)}; each name may stand once")
        return value

    @field_validator("embedding", mode="before")
    @classmethod
    def _of_timm(cls, value: Any) -> Any:
        is_model = isinstance(value, str) and value.startswith("timm:")
        return {"name": "timm", "model": value.removeprefix("timm:")} if is_model else value

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            color_method(value)
        except UnknownName as error:
            raise ValueError(str(error)) from None
        return value


class Dcin(Normalization):
    """One view a reference."""

    Config = DcinConfig

    def __init__(self, config: DcinConfig) -> None:
        super().__init__(config)
        self._method = color_method(config.method)
        self._trained: tuple[Network | None, tuple[int, ...], tuple[Normalization, ...]] = (None, (), ())
        self._embedding: Embedding | None = None
        self._chosen: dict[str, Chosen] = {}
        self._local: dict[str, Any] = {}
        self._index: ApproximateIndex | None = None
        self._is_checked = False

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Experts' pictures, the bank, what the embedding reads, and the code that chooses and moves colors."""
        own = [reference for reference in config.references if reference not in (GLOBAL, LOCAL)]
        named = [Path(reference) for reference in own if is_picture(reference) or "/" not in reference]
        named += [config.bank] if config.bank else []
        missing = [str(path) for path in named if not path.is_file()]
        if missing:
            near = difflib.get_close_matches(missing[0].lower(), (GLOBAL, LOCAL), n=1, cutoff=0.6)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise DataError(
                f"dcin: {', '.join(missing)}: no such file (in {Path.cwd()}).{hint} References are `global`, `local`, "
                "source images (`domain/case`) or files of photographs; `bank` is a file that `unshift bank` wrote."
            )
        member = discover.load("embeddings", config.embedding.name, where="dcin: embedding")
        settings = parse(member.Config, config.embedding.settings, where="dcin: embedding")
        chooses = (member, histograms, inside, medoid, nearest_rows, approximate, references)
        code = (Path(inspect.getfile(module)) for module in chooses)
        return (*named, *member.files(settings), *code, *source_files())

    @classmethod
    def preflight(cls, config: Any) -> None:
        """Open the pictures and the bank, before a training rather than after it.

        Raises:
            DataError: a file is missing, is no picture, or is flawed and may not be used.
            BundleError, ConfigError: the bank is none, or lacks what is asked of it.
            MissingDependency: `search: approximate` without its package.
        """
        cls.files(config)
        for path in (Path(r) for r in config.references if r not in (GLOBAL, LOCAL) and is_picture(r)):
            require_colors(path, describe(read_picture(path), [config.method], None).flaw, config.flawed)
        if config.bank is not None:
            bank = _opened(config.bank, config.method)
            if LOCAL in config.references and not bank.embeddings.shape[1]:
                raise BundleError(
                    f"{config.bank}: holds no embeddings; `local` needs them. Build it with --bundle or --embedding."
                )
            for name in (r for r in config.references if r not in (GLOBAL, LOCAL) and not is_picture(r)):
                source_reference(name, config.method, bank)
        if config.search == "approximate":
            approximate.require()

    def bind(self, network: Network, size: Sequence[int], before: Sequence[Normalization] = ()) -> None:
        """The network whose bottleneck may be the embedding, and what images have gone through."""
        self._trained = (network, tuple(size), tuple(before))
        self._is_checked = False
        if self.config.embedding.name == "segmenter":
            self._embedding = None

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Describe the source images one by one, or read the bank; choose the references.

        Raises:
            DataError: no image, or none that may be a reference; a named file that is no picture, or a flawed one.
            BundleError: the bank's embeddings are of another model, size or preprocessing.
            ConfigError: the embedding needs a trained network and none was bound.
        """
        config, before = self.config, self._trained[2]
        local = LOCAL in config.references
        embedding = self._build(begin=True) if local else None
        fingerprint = fingerprint_of(embedding, before) if embedding else {}
        bank = self._bank(samples, embedding, fingerprint)
        experts = [r for r in config.references if r not in (GLOBAL, LOCAL)]
        self._chosen = {
            r: expert_reference(Path(r), config.method, bank, before=before)
            if is_picture(r)
            else source_reference(r, config.method, bank)
            for r in experts
        }
        if GLOBAL in config.references:
            self._chosen[GLOBAL] = global_reference(bank, config.method, norm=config.norm)
        for path, one in self._chosen.items():
            require_colors(path, one.flaw, config.flawed)
            if one.warning:
                logger.warning("dcin: reference %s: %s.", one.name, one.warning)
        self._chosen = {_without_folder(reference): one for reference, one in self._chosen.items()}
        self._local = _local(bank, config.method, fingerprint) if local else {}
        if local and config.search == "approximate":
            self._index = ApproximateIndex.build(self._local["embeddings"])
        # Paths of this machine mean nothing elsewhere, and what was read from them is in the state.
        names = tuple(map(_without_folder, config.references))
        self.config = config.model_copy(update={"references": names, "bank": None})
        return self

    def views(self, sample: Sample) -> list[Sample]:
        """One view a reference, in the order of the settings; each says which one it has, and what speaks against it.

        Raises:
            DataError: not fitted; values beyond [0, 1]; the field of view is empty.
            ShapeMismatch: neither one nor three channels.
            BundleError: the state's embeddings are of another model, size or preprocessing.
        """
        if not self._chosen and not self._local:
            raise DataError("dcin: not fitted; fit it on source images, or load its state.")
        images, inside = as_batch(sample)
        own = self._method.statistics(images, inside)
        flaw = degenerate(images, inside).words(0)
        views = []
        for chosen, likeness in self._references(images, inside):
            words = [text for text in (flaw and f"the image is {flaw}", chosen.warning) if text]
            used = Reference(chosen.kind, chosen.name, likeness, "; ".join(words))
            wanted = chosen.statistics[None].to(own)
            views.append(sample.replace(image=self._method.transfer(images, wanted, inside, own)[0], reference=used))
        return views

    def state_dict(self) -> dict[str, Tensor]:
        """Statistics of fixed references; of ``local``, embeddings and statistics of all; the embedding's weights."""
        if not self._chosen and not self._local:
            return {}
        texts: dict[str, Any] = {"chosen": {r: [c.kind, c.name, c.warning] for r, c in self._chosen.items()}}
        state = {f"chosen.{r}": c.statistics for r, c in self._chosen.items()}
        if self._local:
            texts |= {name: self._local[name] for name in ("names", "flawed", "fingerprint")}
            state |= {f"local.{name}": self._local[name] for name in ("embeddings", "statistics", "usual")}
            state |= {_EMBEDDING + name: value for name, value in self._build().state_dict().items()}
        if self._index is not None:
            state["index"] = self._index.to_bytes()
        return {**state, "texts": to_bytes(texts)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; needs no file and no source image."""
        texts = from_bytes(state["texts"]) if "texts" in state else {}
        local = {name: f"local.{name}" for name in ("embeddings", "statistics", "usual")} if "names" in texts else {}
        wanted = {"texts", *(f"chosen.{r}" for r in texts.get("chosen", ())), *local.values()}
        wanted |= {"index"} if local and self.config.search == "approximate" else set()
        found = {name for name in state if not (local and name.startswith(_EMBEDDING))}
        if wanted != found:
            raise BundleError(
                f"dcin: state lacks {sorted(wanted - found)} and has unknown {sorted(found - wanted)}. "
                "Use the version that wrote it."
            )
        self._chosen = {r: Chosen(c[0], c[1], state[f"chosen.{r}"], c[2]) for r, c in texts["chosen"].items()}
        self._local = {name: state[key] for name, key in local.items()}
        if local:
            self._local |= {"names": tuple(texts["names"]), "flawed": tuple(texts["flawed"])}
            self._local["fingerprint"] = texts["fingerprint"]
            weights = {n.removeprefix(_EMBEDDING): v for n, v in state.items() if n.startswith(_EMBEDDING)}
            if weights:
                self._build().load_state_dict(weights)
        self._index = ApproximateIndex.from_bytes(state["index"]) if "index" in state else None

    # ------------------------------------------------------------------------------------------------- references

    def _references(self, images: Tensor, inside: Tensor | None) -> list[tuple[Chosen, float | None]]:
        found: list[tuple[Chosen, float | None]] = []
        for reference in self.config.references:
            found += self._nearest(images, inside) if reference == LOCAL else [(self._chosen[reference], None)]
        return found

    def _nearest(self, images: Tensor, inside: Tensor | None) -> list[tuple[Chosen, float | None]]:
        local, embedding, before = self._local, self._build(), self._trained[2]
        if not self._is_checked:
            require_fingerprint(local["fingerprint"], fingerprint_of(embedding, before), what="dcin: references")
            self._is_checked = True
        query, rows = embedding(images, inside).cpu(), local["embeddings"]
        flawed, count = set(local["flawed"]), self.config.nearest + len(local["flawed"])
        if self._index is not None:
            cosines, indices = self._index.search(query[0], rows, count=count)
        else:
            cosines, indices = (part[0] for part in nearest(query, rows, count=count, half=self._half()))
        usual, found = float(local["usual"]), []
        kept = [pair for pair in zip(cosines.tolist(), indices.tolist(), strict=True) if pair[1] not in flawed]
        unlike = f"no similar source image: cosine {kept[0][0]:.4f}, usually at least {usual:.4f}"
        warning = unlike if kept[0][0] < usual else ""  # "usual" is said of the nearest one
        for likeness, index in kept[: self.config.nearest]:
            found.append((Chosen(LOCAL, local["names"][index], local["statistics"][index], warning), likeness))
        return found

    def _half(self) -> Tensor | None:
        """The copy that makes a query fast, made for the first one."""
        if "half" not in self._local:
            self._local["half"] = half_of(self._local["embeddings"])
        return self._local["half"]

    def _bank(self, samples: Iterable[Sample], embedding: Embedding | None, fingerprint: Mapping[str, str]) -> Bank:
        if self.config.bank is None:
            return Bank.of((describe(s, [self.config.method], embedding) for s in samples), fingerprint)
        bank = _opened(self.config.bank, self.config.method)
        if embedding is not None:
            require_fingerprint(bank.fingerprint, fingerprint, what=str(self.config.bank))
        return bank

    def _build(self, *, begin: bool = False) -> Embedding:
        """The embedding, built the first time; ``begin`` fetches its published weights too."""
        if self._embedding is None:
            reference, (network, size, _) = self.config.embedding, self._trained
            member = discover.load("embeddings", reference.name, where="dcin: embedding")
            self._embedding = member(parse(member.Config, reference.settings, where="dcin: embedding"), network, size)
            self._embedding.eval()
        if begin:
            self._embedding.begin()
        return self._embedding


def require_colors(reference: str | Path, flaw: str, flawed: str) -> None:
    """Raise :class:`DataError` for a named picture without colors, unless it may be used all the same."""
    if flaw and flawed == "refuse":
        raise DataError(
            f"dcin: {reference} is {flaw}; a picture with colors to take is required. Name a clean, well lit source "
            "image (`flawed: use` takes this one all the same)."
        )


def _opened(path: Path, method: str) -> Bank:
    bank = Bank.load(path)
    if method not in bank.statistics:
        raise ConfigError(
            f"{path}: has statistics of {', '.join(bank.statistics)}; {method} is required. "
            f"Build it with --method {method}."
        )
    return bank


def _without_folder(reference: str) -> str:
    """A file's name alone; all else as it is."""
    return Path(reference).name if is_picture(reference) else reference


def _local(bank: Bank, method: str, fingerprint: Mapping[str, str]) -> dict[str, Any]:
    """Names, embeddings, statistics of all, as they lie (on the disk, of a bank); which may be no reference; and how
    alike those that may are among themselves.
    """
    place = bank.allowed.nonzero().flatten()
    rows = bank.embeddings if len(place) == len(bank) else bank.embeddings[place]
    return {
        "names": bank.names,
        "flawed": tuple(index for index, flaw in enumerate(bank.flaws) if flaw),
        "embeddings": bank.embeddings,
        "statistics": bank.statistics[method],
        "usual": torch.tensor(usual_likeness(rows, [bank.patients[i] for i in place]), dtype=torch.float64),
        "fingerprint": dict(fingerprint),
    }


MEMBER = Dcin
