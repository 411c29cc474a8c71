"""Images that are nearly the same: a hash finds candidates, the correlation of small thumbnails decides.

The hash is the signs of 16×16 low frequencies of the discrete cosine transform of a 32×32 thumbnail (without the mean):
invariant to brightness and contrast, nearly so to compression and resizing. Medical images of one device look alike to
it (a sector on black, a disc on black), so a pair counts only when the thumbnails, with the mean image of their domain
taken away, correlate as well. Flipped, rotated or cropped copies are not found. Of a volume the middle slice counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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
    detail = _details(usable)
    for start in range(0, len(usable), _BLOCK):
        for other in range(start, len(usable), _BLOCK):
            agreement = bits[start : start + _BLOCK] @ bits[other : other + _BLOCK].T
            near = (agreement >= bits.shape[1] - 2 * _MOST_BITS).nonzero()
            for i, j in (near + torch.tensor([start, other])).tolist():
                if i < j:
                    yield from _decide(usable[i], usable[j], float(detail[i] @ detail[j]))


def _decide(first: Fingerprint, second: Fingerprint, correlation: float) -> Iterator[Pair]:
    is_exact = first.digest == second.digest
    if is_exact or correlation >= _LEAST_CORRELATION:
        yield Pair(first.case, second.case, 1.0 if is_exact else correlation, is_exact)


def _details(prints: Sequence[Fingerprint]) -> Float[np.ndarray, "image pixel"]:
    """Thumbnails of unit length; in a domain of ten or more without what all its images share (borders, sector)."""
    thumbnails = [p.thumbnail.ravel() for p in prints if p.thumbnail is not None]
    stack = np.stack(thumbnails)
    domains = np.array([p.case.domain for p in prints])
    for domain in set(domains.tolist()):
        rows = domains == domain
        if rows.sum() >= 10:
            stack[rows] -= stack[rows].mean(axis=0)
    return stack / np.maximum(np.linalg.norm(stack, axis=1, keepdims=True), 1e-12)
