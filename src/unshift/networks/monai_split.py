"""MONAI networks cut between encoder and decoder, each exactly where its own forward has its skips.

``decode(features(x))`` of a split is the network's own ``forward(x)``, bit for bit; the difference is that what a skip
carries can be changed in between, without the encoder's own path noticing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor, nn


class Split(ABC):
    """A network as two functions. It holds no weights of its own."""

    def __init__(self, body: Any) -> None:
        self.body = body

    @property
    @abstractmethod
    def divisor(self) -> int:
        """Each side of the input must be a multiple of this."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Images -> what enters the decoder, shallow to deep."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """What enters the decoder -> logits."""


class FlexibleUNetSplit(Split):
    """Encoder, decoder and head are modules already; five features of strides 2 to 32."""

    divisor = 32

    def features(self, images: Tensor) -> list[Tensor]:
        """The encoder's features."""
        return list(self.body.encoder(images))

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Decoder and segmentation head."""
        return self.body.segmentation_head(self.body.decoder(list(features), self.body.skip_connect))


class BasicUNetSplit(Split):
    """Five levels of strides 1 to 16."""

    divisor = 16

    def features(self, images: Tensor) -> list[Tensor]:
        """The first two convolutions, then the four downward blocks."""
        found = [self.body.conv_0(images)]
        for down in (self.body.down_1, self.body.down_2, self.body.down_3, self.body.down_4):
            found.append(down(found[-1]))
        return found

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The four upward blocks and the last convolution."""
        x = features[4]
        for up, skip in zip(
            (self.body.upcat_4, self.body.upcat_3, self.body.upcat_2, self.body.upcat_1), features[3::-1], strict=True
        ):
            x = up(x, skip)
        return self.body.final_conv(x)


class UNetSplit(Split):
    """MONAI's residual U-Net, a nest of down, skip connection and up; the unnesting is done once a call."""

    @property
    def divisor(self) -> int:
        """The product of the strides."""
        return prod(self.body.strides)

    def features(self, images: Tensor) -> list[Tensor]:
        """What each downward block gives, and the bottom."""
        found, block = [], self.body.model
        while (parts := _levels(block)) is not None:
            images = parts[0](images)
            found.append(images)
            block = parts[1].submodule
        return [*found, block(images)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Joins and upward blocks from the bottom to the top."""
        ups, block = [], self.body.model
        while (parts := _levels(block)) is not None:
            ups.append(parts[2])
            block = parts[1].submodule
        x = features[-1]
        for up, skip in zip(reversed(ups), reversed(features[:-1]), strict=True):
            x = up(torch.cat([skip, x], dim=1))
        return x


class SegResNetSplit(Split):
    """Already written as encode and decode; its skips are added."""

    @property
    def divisor(self) -> int:
        """Two to the number of downward steps."""
        return 2 ** (len(self.body.blocks_down) - 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """What each downward level gives."""
        return list(self.body.encode(images)[1])

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Upward levels from the deepest feature."""
        deepest_first = list(reversed(features))
        return self.body.decode(deepest_first[0], deepest_first)


SPLITS: dict[str, type[Split]] = {
    "FlexibleUNet": FlexibleUNetSplit,
    "BasicUNet": BasicUNetSplit,
    "UNet": UNetSplit,
    "SegResNet": SegResNetSplit,
}


def _levels(block: nn.Module) -> tuple[Any, Any, Any] | None:
    """Down, skip connection and up of one level of MONAI's UNet; None at the bottom."""
    if isinstance(block, nn.Sequential) and len(block) == 3 and isinstance(block[1], SkipConnection):
        return block[0], block[1], block[2]
    return None
