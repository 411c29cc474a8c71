"""Reference images for a color transfer: what is kept of each, the source's most typical one, one that a user names.

Dynamic color image normalization: "Color-Quality Invariance for Robust Medical Image Segmentation" (DCIN), GRIS and
ExRI. Nearly black, over-exposed and constant images are never chosen; all images count in the means.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from unshift import discover
from unshift.contracts import Normalization
from unshift.embedding import Embedding
from unshift.errors import DataError
from unshift.normalizations.bank import Bank, Entry
from unshift.normalizations.color_methods import color_method, degenerate
from unshift.normalizations.histograms import Norm, color_histograms, normalized
from unshift.normalizations.inside import mask_of
from unshift.normalizations.medoid import medoid
from unshift.sample import Sample

_USUAL = 0.99
_COMPARED = 2000
_NOT_IDENTITY = frozenset({"weights", "pretrained", "weights_of", "mean", "deviation", "bank"})
"""Settings that say where weights came from; a bundle keeps the weights instead."""


@dataclass(frozen=True)
class Chosen:
    """A reference that is the same for all images.

    Args:
        warning: what speaks against it.
        flaw: of that, what makes it no reference at all (nearly black, …); not kept in a state.
    """

    kind: str
    name: str
    statistics: Float[Tensor, " size"]
    warning: str = ""
    flaw: str = ""


def describe(sample: Sample, methods: Sequence[str], embedding: Embedding | None, *, digest: str = "") -> Entry:
    """What a bank keeps of a source image.

    Raises:
        DataError: values beyond [0, 1]; an empty field of view.
        ShapeMismatch: neither one nor three channels.
    """
    images, inside = as_batch(sample)
    flawed = degenerate(images, inside)
    vector = torch.zeros(0) if embedding is None else embedding(images, inside)[0].cpu()
    return Entry(
        name=name_of(sample),
        patient=f"{sample.domain}/{sample.patient}",
        flaw=flawed.words(0),
        embedding=vector,
        histogram=color_histograms(images, inside)[0].cpu(),
        statistics={name: color_method(name).statistics(images, inside)[0].float().cpu() for name in methods},
        digest=digest,
    )


def name_of(sample: Sample) -> str:
    """``domain/case``, or the case alone."""
    return f"{sample.domain}/{sample.case}" if sample.domain else sample.case


def as_batch(sample: Sample) -> tuple[Tensor, Tensor | None]:
    """The image as a batch of one, and its field of view where one is known.

    Raises:
        DataError: values beyond [0, 1]; an empty field of view.
    """
    low, high = float(sample.image.min()), float(sample.image.max())
    if low < 0 or high > 1:
        raise DataError(
            f"Case {sample.case!r}: values in {low:g} … {high:g}; colors are in 0 … 1. "
            "Leave out preprocessing that scales otherwise (zscore), or put min_max there."
        )
    mask = None if sample.field_of_view is None else mask_of(sample)[None]
    return sample.image[None], mask


def global_reference(bank: Bank, method: str, *, norm: Norm) -> Chosen:
    """The medoid of the color histograms: the image with the least mean distance to all; of ties the first by name.

    Raises:
        DataError: no image that may be one.
    """
    vectors = normalized(bank.histograms, norm)
    index = medoid(vectors, order=bank.names, allowed=bank.allowed)
    return Chosen("global", bank.names[index], bank.statistics[method][index].clone())


def is_picture(reference: str) -> bool:
    """Whether a reference's name is a photograph's, and not a source image's (``domain/case``)."""
    return reference.lower().endswith(discover.load("formats", "photo").suffixes)


def source_reference(name: str, method: str, bank: Bank) -> Chosen:
    """The source image of that name, with the field of view that the data know of it, and what speaks against it.

    Raises:
        DataError: it is not in the bank; with the nearest names.
    """
    require_source(name, bank.names)
    index = bank.names.index(name)
    flaw = bank.flaws[index]
    words = _against(bank.histograms[index], flaw, bank, patient=bank.patients[index])
    return Chosen("expert", name, bank.statistics[method][index].clone(), words, flaw)


def require_source(name: str, names: Sequence[str]) -> None:
    """Raise :class:`DataError` for a name that is no source image's; with the nearest names."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
        raise DataError(
            f"dcin: reference {name!r} is none of the {len(names)} source images that references are chosen from "
            f"(of a run, those trained on), such as {', '.join(near)}; one of them is required. Correct the name, or "
            "give the picture's file."
        )


def expert_reference(path: Path, method: str, bank: Bank, *, before: Sequence[Normalization] = ()) -> Chosen:
    """The picture that a user names, treated as source images are, with what speaks against it.

    Raises:
        DataError: no such picture, or it cannot be read in full.
    """
    entry = describe(read_picture(path, before), [method], None)
    words = _against(entry.histogram, entry.flaw, bank)
    return Chosen("expert", path.name, entry.statistics[method], words, entry.flaw)


def read_picture(path: Path, before: Sequence[Normalization] = ()) -> Sample:
    """A photograph as a sample, through the steps that samples have gone through.

    Raises:
        DataError: no such picture, or it cannot be read in full.
    """
    photo = discover.load("formats", "photo")()
    if not path.name.lower().endswith(photo.suffixes):
        raise DataError(
            f"{path}: no photograph; `global`, `local` or a file ending in {', '.join(photo.suffixes)} is required."
        )
    sample = Sample(photo.read_image(path).array, path.name, path.name, "", path=path)
    for step in before:
        [sample] = step.views(sample)
    return sample


def fingerprint_of(embedding: Embedding, before: Iterable[Normalization]) -> dict[str, str]:
    """What decides an image's vector: the embedding, and every step before it with its settings and state."""
    steps = [_identity(step) for step in before]
    return {**embedding.fingerprint, "preprocessing": ", ".join(steps) or "none"}


def _identity(step: Normalization) -> str:
    settings = step.config.model_dump_json(exclude=set(_NOT_IDENTITY))
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(_state(step).items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return f"{type(step).__module__.rpartition('.')[2]} {digest.hexdigest()[:12]}"


def _state(step: Normalization) -> Mapping[str, Tensor]:
    return step.state_dict()


def _against(histogram: Float[Tensor, " bin"], flaw: str, bank: Bank, *, patient: str = "") -> str:
    """What speaks against a picture: its flaw, and colors unlike those of the source's other patients."""
    words = [f"the reference is {flaw}"] if flaw else []
    distance, usual = _color_distances(histogram, bank, patient)
    if distance > usual:
        words.append(
            f"its colors resemble no source image: {distance:.2f} to the nearest; {_USUAL:.0%} of source images are "
            f"within {usual:.2f} of another"
        )
    return "; ".join(words)


def _color_distances(histogram: Float[Tensor, " bin"], bank: Bank, patient: str) -> tuple[float, float]:
    """To the nearest histogram of another patient; and what 99 of 100 source images have to theirs."""
    rows = normalized(bank.histograms, "l2")
    rows = rows[:: -(-len(rows) // _COMPARED)]
    patients = bank.patients[:: -(-len(bank) // _COMPARED)]
    if len(set(patients)) < 2:
        return 0.0, torch.inf
    others = torch.tensor([name != patient for name in patients])
    found = float(torch.cdist(normalized(histogram[None], "l2"), rows[others]).min())
    places = {name: place for place, name in enumerate(dict.fromkeys(patients))}
    codes = torch.tensor([places[name] for name in patients])
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    distances[codes[:, None] == codes] = torch.inf
    return found, float(distances.amin(1).double().quantile(_USUAL))
