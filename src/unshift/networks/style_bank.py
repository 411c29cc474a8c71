"""A bank of a target's styles, and volumes translated slice by slice, each with one style.

As the sibling repository of GLUA's authors does it [C]: the codes of the middle two thirds of every target volume's
slices (the outer ones hold little of the body), clustered by k-means into six; a style is a random member of a cluster,
and all slices of a volume get the same one, so that neighbours fit. Six styles make six volumes of one.

A bank holds codes of 8 numbers, no pixels. k-means is SciPy's, begun ten times by k-means++; the closest clusters are
taken [F].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2
from torch import Tensor

from unshift.errors import DataError, UnknownName
from unshift.networks.translator import Translator, as_signed, as_unit
from unshift.randomness import derive

CLUSTERS = 6
SLICES = 4
"""Slices that are encoded or translated together: what bounds memory."""
_BEGINNINGS = 10


@dataclass(frozen=True)
class StyleBank:
    """Codes of a target's slices and the cluster of each.

    Args:
        codes: float32.
        clusters: 0 … count - 1, none of them empty.
    """

    codes: Float[Tensor, "slices code"]
    clusters: Int[Tensor, "slices"]

    @property
    def count(self) -> int:
        """Number of clusters: six, or fewer where there are fewer different codes."""
        return int(self.clusters.max()) + 1

    def draw(self, cluster: int, generator: torch.Generator) -> Float[Tensor, "code"]:
        """The code of a random member of a cluster.

        Raises:
            UnknownName: there is no such cluster.
        """
        if not 0 <= cluster < self.count:
            raise UnknownName("cluster", str(cluster), map(str, range(self.count)), where="style bank")
        members = torch.nonzero(self.clusters == cluster)[:, 0]
        return self.codes[members[torch.randint(len(members), (), generator=generator)]]


def fit_bank(
    translator: Translator,
    volumes: Iterable[Float[Tensor, "slice channel height width"]],
    *,
    clusters: int = CLUSTERS,
    seed: int = 0,
) -> StyleBank:
    """Encode the target's styles and cluster them.

    Args:
        translator: trained; its device is where the work is done.
        volumes: of the target, in [0, 1], one at a time; a picture is a volume of one slice.
        clusters: wanted; fewer different codes give as many clusters as there are.
        seed: of k-means.

    Raises:
        DataError: no volume.
    """
    found = [_encoded(translator, volume[central(len(volume))]) for volume in volumes]
    if not found:
        raise DataError("Style bank: 0 target images; at least one is required. Give the target's folder an image.")
    codes = torch.cat(found)
    return StyleBank(codes, _clustered(codes, clusters, seed))


def central(count: int) -> slice:
    """The middle two thirds of ``count`` slices: a sixth, rounded down, is left out at either end."""
    return slice(count // 6, count - count // 6)


def translate(
    translator: Translator, slices: Iterable[Float[Tensor, "channel height width"]], code: Float[Tensor, "code"]
) -> Iterator[Float[Tensor, "channel height width"]]:
    """Slices in [0, 1], one after another, in the style of ``code``; four at a time are on the translator's device.

    Raises:
        ShapeMismatch: a slice that the translator cannot take.
    """
    waiting: list[Tensor] = []
    for image in slices:
        waiting.append(image)
        if len(waiting) == SLICES:
            yield from _translated(translator, waiting, code)
            waiting = []
    if waiting:
        yield from _translated(translator, waiting, code)


def translate_volume(
    translator: Translator, volume: Float[Tensor, "channel depth height width"], code: Float[Tensor, "code"]
) -> Float[Tensor, "channel depth height width"]:
    """All slices of a volume in [0, 1], with one style; beside the result, memory for four slices."""
    result = torch.empty_like(volume)
    for place, image in enumerate(translate(translator, volume.unbind(1), code)):
        result[:, place] = image
    return result


@torch.no_grad()
def _translated(translator: Translator, slices: list[Tensor], code: Tensor) -> Iterator[Tensor]:
    device = next(translator.parameters()).device
    images = as_signed(torch.stack(slices).to(device))
    found = translator(images, code.to(device).expand(len(images), -1))
    yield from as_unit(found).to(slices[0].device).unbind()


@torch.no_grad()
def _encoded(translator: Translator, slices: Tensor) -> Float[Tensor, "slice code"]:
    device = next(translator.parameters()).device
    translator.check(slices)
    parts = [translator.style["target"](as_signed(part.to(device))).float().cpu() for part in slices.split(SLICES)]
    return torch.cat(parts)


def _clustered(codes: Tensor, clusters: int, seed: int) -> Int[Tensor, "slices"]:
    """The labels with the least distance to their centres, of several beginnings without an empty cluster."""
    points = codes.double().numpy()
    wanted = min(clusters, len(np.unique(points, axis=0)))
    best, labels = np.inf, np.zeros(len(points), dtype=np.int64)
    for beginning in range(_BEGINNINGS if wanted > 1 else 0):
        generator = np.random.default_rng(derive(seed, "style bank", beginning))
        start = _spread(points, wanted, generator)
        centers, found = kmeans2(points, start, iter=50, minit="matrix", missing="raise")
        distance = np.square(points - centers[found]).sum()
        if distance < best:
            best, labels = distance, found.astype(np.int64)
    return torch.from_numpy(labels)


def _spread(points: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """k-means++: each next centre is a point drawn in proportion to its squared distance from those before."""
    chosen = [points[generator.integers(len(points))]]
    for _ in range(count - 1):
        distance = np.min([np.square(points - center).sum(1) for center in chosen], axis=0)
        chosen.append(points[generator.choice(len(points), p=distance / distance.sum())])
    return np.stack(chosen)
