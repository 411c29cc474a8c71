"""The trained segmenter's own bottleneck, averaged inside the field of view: needs no other weights.

Its deepest tap, for the image as the network sees it: preprocessed and resized to the network's input (also where it
predicts by windows). Of a volume under a 2-D network the slices' features are averaged. Not of the paper, which asks an
ImageNet network: this one is there wherever the bundle is, and tells images of its own organ apart. It is a poor judge
of anything else: of 30 fundus photographs, a polyp segmenter called 2 unlike its source; ``lite2`` called all 30 so,
and of 60 held-out source images both called none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Network
from unshift.embedding import Embedding
from unshift.embeddings.pooling import looking, pooled, resized, unit, weights_digest
from unshift.errors import ConfigError, ShapeMismatch
from unshift.geometry import stack

_SLICES = 8
"""Of a volume, at once."""


class Segmenter(Embedding):
    """The deepest tap of the network; holds no weights of its own."""

    Config = Config

    def __init__(self, config: Config, network: Network | None = None, size: Sequence[int] = ()) -> None:
        super().__init__(config, network, size)
        if network is None or not size:
            raise ConfigError(
                "embedding segmenter: no trained network is at hand; one is required. Give a bundle (--bundle), "
                "use it under a pipeline's normalizations (not preprocessing), or set another `embedding`."
            )
        if not network.taps:
            raise ConfigError(
                f"embedding segmenter: {type(network).__name__} has no taps; one or more are required. "
                "Name them, or set another `embedding`."
            )
        self._network = (network,)  # in a tuple, so that its weights do not become this module's
        self._size = tuple(size)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """The network's class, weights, deepest tap and input size."""
        [network] = self._network
        return {
            "model": f"segmenter {type(network).__name__}, tap {network.taps[-1].name}",
            "weights": weights_digest(network.state_dict()),
            "size": "×".join(map(str, self._size)),
        }

    def forward(
        self, images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
    ) -> Float[Tensor, "batch feature"]:
        """Unit vectors, on the images' device; the work is done on the network's."""
        [network] = self._network
        with looking(network):
            if images.ndim == len(self._size) + 2:
                return self._features(images, inside).to(images.device)
            if images.ndim != 5:
                raise ShapeMismatch(
                    f"embedding segmenter: images are {list(images.shape)} for an input of {list(self._size)}; "
                    "pictures or volumes of them are required."
                )
            rows = [self._volume(v, None if inside is None else inside[i]) for i, v in enumerate(images)]
            return unit(torch.stack(rows)).to(images.device)

    def _features(self, images: Tensor, inside: Tensor | None) -> Tensor:
        [network] = self._network
        images, inside = resized(images.to(network.input_mean.device), inside, self._size)
        inside = None if inside is None else inside.to(images.device)
        return unit(pooled(network.encode(images)[-1], inside))

    def _volume(self, volume: Float[Tensor, "channel *space"], inside: Bool[Tensor, "*space"] | None) -> Tensor:
        """The mean vector of the slices that show something."""
        [network] = self._network
        neighbours = (network.in_channels // volume.shape[0] - 1) // 2
        wanted = torch.arange(volume.shape[1]) if inside is None else inside.flatten(1).any(1).nonzero().flatten().cpu()
        found = []
        for part in wanted.split(_SLICES):
            slices = torch.stack([stack(volume, int(index), neighbours) for index in part])
            found.append(self._features(slices, None if inside is None else inside[part]))
        return torch.cat(found).mean(0)


MEMBER = Segmenter
