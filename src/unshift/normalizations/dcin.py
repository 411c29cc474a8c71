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
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator
from torch import Tensor

from unshift import discover
from unshift.config import Config, MemberRef, parse
from unshift.contracts import Network, Normalization
from unshift.embedding import Embedding
from unshift.errors import BundleError, ConfigError, DataError, UnknownName
from unshift.normalizations import approximate, histograms, inside, medoid, nearest, references, similar
from unshift.normalizations.bank import Bank, from_bytes, require_fingerprint, to_bytes
from unshift.normalizations.color_methods import color_method, degenerate, source_files
from unshift.normalizations.histograms import Norm
from unshift.normalizations.references import (
    Chosen,
    as_batch,
    describe,
    expert_reference,
    fingerprint_of,
    global_reference,
    is_picture,
    read_picture,
    require_source,
    source_reference,
)
from unshift.normalizations.similar import KIND, Similar
from unshift.sample import Reference, Sample

logger = logging.getLogger(__name__)
GLOBAL, LOCAL = "global", KIND
SEGMENTER = "segmenter"
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
    embedding: MemberRef = MemberRef(name=SEGMENTER)
    bank: Path | None = None
    nearest: int = Field(default=1, ge=1)
    search: Literal["exact", "approximate"] = "exact"
    flawed: Literal["refuse", "use"] = "refuse"

    @property
    def named(self) -> tuple[str, ...]:
        """References that a user names: source images and files."""
        return tuple(reference for reference in self.references if reference not in (GLOBAL, LOCAL))

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
        self._similar: Similar | None = None
        self._is_checked = False

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Experts' pictures, the bank, what the embedding reads, and the code that chooses and moves colors."""
        named = [Path(reference) for reference in config.named if is_picture(reference) or "/" not in reference]
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
        chooses = (member, approximate, histograms, inside, medoid, nearest, references, similar)
        code = (Path(inspect.getfile(module)) for module in chooses)
        return (*named, *member.files(settings), *code, *source_files())

    @classmethod
    def preflight(cls, config: Any, sources: Sequence[str]) -> None:
        """Open pictures, bank and embedding, and look source images up, before a training rather than after it.

        Raises:
            DataError: a file is missing, is no picture, or is flawed and may not be used; no such source image.
            BundleError, ConfigError: the bank is none, lacks what is asked of it, or was embedded in another way.
            MissingDependency: `search: approximate`, or the embedding, without its package.
        """
        cls.files(config)
        bank = _opened(config.bank, config.method) if config.bank is not None else None
        for reference in filter(is_picture, config.named):
            entry = describe(read_picture(Path(reference)), [config.method], None)
            require_colors(reference, entry.flaw, config.flawed)
        for reference in itertools.filterfalse(is_picture, config.named):
            require_source(reference, sources if bank is None else bank.names)
        if LOCAL in config.references:
            cls._require_embedding(config, bank)
        if config.search == "approximate":
            approximate.require()

    @classmethod
    def _require_embedding(cls, config: Any, bank: Bank | None) -> None:
        """Fetch the embedding and compare the bank's with it, as far as neither needs the network to be trained."""
        if bank is not None and not bank.embeddings.shape[1]:
            raise BundleError(
                f"{config.bank}: holds no embeddings; `local` needs them. Build it with --bundle or --embedding."
            )
        if config.embedding.name != SEGMENTER:
            own = cls(config)._build(begin=True).fingerprint
            if bank is not None:
                own |= {"preprocessing": bank.fingerprint["preprocessing"]}  # fitted later, and compared then
                require_fingerprint(bank.fingerprint, own, what=str(config.bank))
        elif bank is not None and not bank.fingerprint["model"].startswith(SEGMENTER):
            raise BundleError(
                f"{config.bank}: was embedded by {bank.fingerprint['model']}, and `embedding` is {SEGMENTER}, the "
                "trained network itself; both must be the same. Set `embedding` to the bank's."
            )

    def bind(self, network: Network, size: Sequence[int], before: Sequence[Normalization] = ()) -> None:
        """The network whose bottleneck may be the embedding, and what images have gone through."""
        self._trained = (network, tuple(size), tuple(before))
        self._is_checked = False
        if self.config.embedding.name == SEGMENTER:
            self._embedding = None

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Describe the source images one by one, or read the bank; choose the references.

        Raises:
            DataError: no image, or none that may be a reference; a named file that is no picture, or a flawed one.
            BundleError: the bank's embeddings are of another model, size or preprocessing.
            ConfigError: the embedding needs a trained network and none was bound.
        """
        config = self.config
        is_local = LOCAL in config.references
        bank = self._bank(samples, self._build(begin=True) if is_local else None)
        self._chosen = {}
        for reference in config.references:
            if reference == LOCAL:
                continue
            one = self._fixed(reference, bank)
            require_colors(reference, one.flaw, config.flawed)
            if one.warning:
                logger.warning("dcin: reference %s: %s.", one.name, one.warning)
            self._chosen[_without_folder(reference)] = one
        is_approximate = config.search == "approximate"
        self._similar = Similar.of(bank, config.method, is_approximate=is_approximate) if is_local else None
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
        if not self._chosen and self._similar is None:
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
        if not self._chosen and self._similar is None:
            return {}
        texts: dict[str, Any] = {"chosen": {r: [c.kind, c.name, c.warning] for r, c in self._chosen.items()}}
        state = {f"chosen.{r}": c.statistics for r, c in self._chosen.items()}
        if self._similar is not None:
            texts |= self._similar.texts()
            state |= self._similar.tensors()
            state |= {_EMBEDDING + name: value for name, value in self._build().state_dict().items()}
        return {**state, "texts": to_bytes(texts)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; needs no file and no source image."""
        texts = from_bytes(state["texts"]) if "texts" in state else {}
        local = Similar.keys(texts, is_approximate=self.config.search == "approximate")
        wanted = {"texts", *(f"chosen.{r}" for r in texts.get("chosen", ())), *local}
        found = {name for name in state if not (local and name.startswith(_EMBEDDING))}
        if wanted != found:
            raise BundleError(
                f"dcin: state lacks {sorted(wanted - found)} and has unknown {sorted(found - wanted)}. "
                "Use the version that wrote it."
            )
        self._chosen = {r: Chosen(c[0], c[1], state[f"chosen.{r}"], c[2]) for r, c in texts["chosen"].items()}
        self._similar = Similar.load(state, texts) if local else None
        weights = {n.removeprefix(_EMBEDDING): v for n, v in state.items() if n.startswith(_EMBEDDING)}
        if weights:
            self._build().load_state_dict(weights)

    # ------------------------------------------------------------------------------------------------- references

    def _fixed(self, reference: str, bank: Bank) -> Chosen:
        """A reference that is the same for all images."""
        config = self.config
        if reference == GLOBAL:
            return global_reference(bank, config.method, norm=config.norm)
        if is_picture(reference):
            return expert_reference(Path(reference), config.method, bank, before=self._trained[2])
        return source_reference(reference, config.method, bank)

    def _references(self, images: Tensor, inside: Tensor | None) -> list[tuple[Chosen, float | None]]:
        found: list[tuple[Chosen, float | None]] = []
        for reference in self.config.references:
            found += self._nearest(images, inside) if reference == LOCAL else [(self._chosen[reference], None)]
        return found

    def _nearest(self, images: Tensor, inside: Tensor | None) -> list[tuple[Chosen, float]]:
        assert self._similar is not None
        embedding = self._build()
        if not self._is_checked:
            own = fingerprint_of(embedding, self._trained[2])
            require_fingerprint(self._similar.fingerprint, own, what="dcin: references")
            self._is_checked = True
        return self._similar.nearest(embedding(images, inside).cpu(), self.config.nearest)

    def _bank(self, samples: Iterable[Sample], embedding: Embedding | None) -> Bank:
        fingerprint = fingerprint_of(embedding, self._trained[2]) if embedding else {}
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


MEMBER = Dcin
