"""Images that are nearly the same: a hash finds candidates, the correlation of small thumbnails decides.

The hash is the signs of 16×16 low frequencies of the discrete cosine transform of a 32×32 thumbnail (without the mean):
invariant to brightness and contrast, nearly so to compression and resizing. Medical images of one device look alike to
it (a sector on black, a disc on black), so a pair counts only when the thumbnails, with the mean image of either domain
taken away, correlate as well. Flipped, rotated or cropped copies are not found. Of a volume the middle slice counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.fft import dctn

from unshift.sample import Case, Sample

SIDE = 32
_KEPT = 16
_MOST_BITS = 28
"""Of 255: copies that were compressed or resized differ in fewer, other images of one device in more."""
_LEAST_CORRELATION = 0.95
_ENOUGH = 10
_BLOCK = 2048


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image while thousands are compared: about 4.5 kB.

    Args:
        case: whose image it is.
        digest: of the decoded values and their shape: equal for exact copies, whatever the container.
        thumbnail: float32 [32, 32], mean 0 and deviation 1; None for an image of one value.
        bits: int8 [255], +1 or -1.
    """

    case: Case
    digest: bytes
    thumbnail: Float[np.ndarray, "side side"] | None
    bits: np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """Two cases whose images are the same (``exact``), or nearly."""

    first: Case
    second: Case
    correlation: float
    is_exact: bool


def fingerprint(case: Case, sample: Sample) -> Fingerprint:
    """The digest, hash and thumbnail of a sample's image."""
    image = sample.image
    digest = hashlib.blake2b(str(tuple(image.shape)).encode(), digest_size=16)
    digest.update(image.contiguous().numpy().data)
    plane = image.float().mean(dim=0)
    plane = plane if plane.ndim == 2 else plane[plane.shape[0] // 2]
    small = F.interpolate(plane[None, None], size=(SIDE, SIDE), mode="area")[0, 0].double().numpy()
    deviation = small.std()
    if deviation <= 1e-6 * max(1.0, float(np.abs(small).max())):
        return Fingerprint(case, digest.digest(), None, None)
    thumbnail = ((small - small.mean()) / deviation).astype(np.float32)
    low = dctn(thumbnail, norm="ortho")[:_KEPT, :_KEPT].ravel()[1:]
    return Fingerprint(case, digest.digest(), thumbnail, np.where(low > 0, 1, -1).astype(np.int8))


def similar_pairs(prints: Sequence[Fingerprint]) -> Iterator[Pair]:
    """Pairs of images that are the same or nearly, each pair once, in the order of ``prints``."""
    usable = [p for p in prints if p.bits is not None]
    if len(usable) < 2:
        return
    bits = torch.from_numpy(np.stack([p.bits for p in usable if p.bits is not None])).float()
    shared = _shared(usable)
    for start in range(0, len(usable), _BLOCK):
        for other in range(start, len(usable), _BLOCK):
            agreement = bits[start : start + _BLOCK] @ bits[other : other + _BLOCK].T
            near = (agreement >= bits.shape[1] - 2 * _MOST_BITS).nonzero()
            for i, j in (near + torch.tensor([start, other])).tolist():
                if i < j:
                    yield from _decide(usable[i], usable[j], shared)


def _decide(first: Fingerprint, second: Fingerprint, shared: Mapping[str, np.ndarray]) -> Iterator[Pair]:
    is_exact = first.digest == second.digest
    backgrounds = [shared[domain] for domain in {first.case.domain, second.case.domain}]
    correlation = 1.0 if is_exact else min(_correlation(first, second, background) for background in backgrounds)
    if correlation >= _LEAST_CORRELATION:
        yield Pair(first.case, second.case, correlation, is_exact)


def _correlation(first: Fingerprint, second: Fingerprint, background: np.ndarray) -> float:
    """Cosine between the thumbnails, both without the same ``background``."""
    assert first.thumbnail is not None and second.thumbnail is not None
    a, b = (first.thumbnail - background).ravel(), (second.thumbnail - background).ravel()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _shared(prints: Sequence[Fingerprint]) -> dict[str, np.ndarray]:
    """What all images of a domain share (borders, sector): their mean, or nothing where fewer than ten are known."""
    thumbnails: dict[str, list[np.ndarray]] = {}
    for one in prints:
        if one.thumbnail is not None:
            thumbnails.setdefault(one.case.domain, []).append(one.thumbnail)
    return {
        domain: np.mean(found, axis=0) if len(found) >= _ENOUGH else np.zeros((SIDE, SIDE), np.float32)
        for domain, found in thumbnails.items()
    }
