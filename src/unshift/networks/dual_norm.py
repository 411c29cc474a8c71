"""Any network of this package with two sets of batch norms, chosen for each test image by its style.

Zhou, Qi, Yang, Ni, Shi, "Generalizable Cross-modality Medical Image Segmentation via Style Augmentation and Dual
Normalization" (CVPR 2022, arXiv 2112.11177). All other weights are shared. At test time an image goes through the
network twice, and with S_b the sum over its batch norms of ‖μ - μ_b‖ + ‖σ² - σ²_b‖ (μ, σ² the image's own statistics
before the norm, μ_b, σ²_b the running ones of set b) the set with the smaller S_b gives the logits. The objective
``dual_norm`` makes this network of the recipe's; a bundle names it.

Difference from the authors' code: every image chooses for itself and is normalized by running statistics, so that a
prediction does not depend on the images beside it; theirs choose for a batch of 32 test images and normalize by that
batch's own statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.contracts import Network, Tap
from unshift.layers.dual_batch_norm import dualize
from unshift.networks.wrapping import built, reference, take_standardization
from unshift.sample import Task

_WHO = "network dual_norm"


class Config(config.Config):
    """``of``: the network whose batch norms are doubled, with its settings; None of one that was handed over."""

    of: MemberRef | None = MemberRef(name="unet")


class DualNorm(Network):
    """``network`` is what was doubled; its standardization is done here."""

    Config = Config

    def __init__(self, config: Any, task: Task, channels: int | None = None, *, network: Network | None = None) -> None:
        """``network``: handed over, and changed in place; it becomes part of this one."""
        super().__init__(config, task, channels)
        self.network = network or built(config.of, task, channels, who=_WHO)
        self.config = Config(of=reference(self.network, who=_WHO))  # nothing to load again: weights come with this one
        self.norms = tuple(dualize(self.network))
        self.origin, self.size_divisor = self.network.origin, self.network.size_divisor
        self.least_factor = self.network.least_factor
        take_standardization(self, self.network)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Those of the network."""
        return self.network.taps

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        self.network.check(images)

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature a tap; at test time through the norms that each image chose."""
        if not self.training:
            self._route(self._both(images)[1])
        return self.network.features(images)

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """What :meth:`encode` has just returned (restyled or not) -> logits, through the norms chosen there."""
        return self.network.decode(features)

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
        """Images as preprocessing leaves them -> logits; while training the halves of the batch go separate ways."""
        standardized = self._standardized(images)
        if self.training:
            return self.network(standardized)
        (first, second), chosen = self._both(standardized)
        return torch.where(chosen.view(-1, *(1,) * (first.ndim - 1)), second, first)

    def dissimilar(self, images: Float[Tensor, "batch channel *space"]) -> Bool[Tensor, "batch"]:
        """Whether the second set of norms, of images unlike the source, is nearer; in evaluation mode."""
        return self._both(self._standardized(images))[1]

    def _standardized(self, images: Tensor) -> Tensor:
        self.check(images)
        shape = (1, -1) + (1,) * (images.ndim - 2)
        return (images - self.input_mean.view(shape)) / self.input_deviation.view(shape)

    def _both(self, images: Tensor) -> tuple[list[Tensor], Bool[Tensor, "batch"]]:
        """Logits through each set of norms, and whose statistics are nearer; a tie is the first's."""
        logits, distances = [], []
        for way in (0, 1):
            self._route(way)
            logits.append(self.network(images))
            noted = [norm.distance for norm in self.norms if norm.distance is not None]
            distances.append(torch.stack(noted).sum(0))
        return logits, distances[1] < distances[0]

    def _route(self, way: int | Tensor) -> None:
        for norm in self.norms:
            norm.route, norm.distance = way, None


MEMBER = DualNorm
