"""Discriminators of images, of contents, and of a segmenter's features; all give least-squares judgments.

From DAR-UNet, the sibling repository of GLUA's authors ([C]; its code was not used). With w = 32:

* images: three scales (means of 3x3, every second pixel), each five 4x4 convolutions of stride 2 with w, 2w, 4w, 8w, 8w
  channels (affine instance norm but on the first, leaky ReLU 0.2), 1x1 to one number a place. [C]
* contents: four times 7x7 of stride 2 (instance norm, leaky ReLU), 3x3 to one number [C]. Theirs pads nothing and needs
  images of 492 pixels and more; here each 7x7 is padded by 3, so that sides of 68 pixels will do [F]. (DRIT's form,
  padded by 1, would need 212.)
* features: four 3x3 of stride 1 with c/2, c/4, c/8 and 1 channels: the class that nothing in their repository uses, and
  that GLUA's local mask is thought to come from [F, high plausibility]. One judgment for every place of the feature.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from unshift.config import Config
from unshift.errors import ConfigError, ShapeMismatch
from unshift.networks.translator import SLOPE, STRIDE, conv_norm_act, initialize


class JudgesConfig(Config):
    """Sizes of the discriminators of a translator; the defaults are the authors'."""

    width: int = Field(32, ge=1, description="channels of an image discriminator's first layer")
    scales: int = Field(3, ge=1, description="of image discriminators; each halves the image once more")
    depth: int = Field(5, ge=1, description="halvings within a scale")
    content_depth: int = Field(4, ge=1, description="halvings in the content discriminator")


class Judges(nn.Module):
    """The discriminators of a translator: of source images, of target images, of contents.

    Args:
        config: sizes.
        channels: of the images.
        features: channels of the contents.
    """

    def __init__(self, config: JudgesConfig, channels: int, features: int) -> None:
        super().__init__()
        self.config = config
        self.source = ImageDiscriminator(config, channels)
        self.target = ImageDiscriminator(config, channels)
        self.content = ContentDiscriminator(features, depth=config.content_depth)

    @property
    def least_side(self) -> int:
        """The smallest side of an image that all of them take."""
        images = 2 ** (self.config.depth + self.config.scales)
        return max(images, STRIDE * (2**self.config.content_depth + 1))

    def check(self, images: Tensor) -> None:
        """Raise for images that are too small.

        Raises:
            ShapeMismatch: says which settings to lower.
        """
        if min(images.shape[2:]) < self.least_side:
            config = self.config
            raise ShapeMismatch(
                f"Discriminators: images are {images.shape[2]}×{images.shape[3]}; sides of {self.least_side} and more "
                f"are required by scales {config.scales}, depth {config.depth}, content_depth {config.content_depth}. "
                "Enlarge `input.size`, or lower these."
            )

    def forward(self, source: Tensor, target: Tensor, contents: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Judgments of images by the source's discriminator, by the target's, and of contents."""
        return self.source(source), self.target(target), self.content(contents)


class ImageDiscriminator(nn.Module):
    """Images -> one map of judgments a scale; 1 means real."""

    def __init__(self, config: JudgesConfig, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_scale(config, channels) for _ in range(config.scales))
        self.apply(initialize)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        """Full resolution first."""
        judgments = []
        for number, scale in enumerate(self.scales):
            if number:
                images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            judgments.append(scale(images))
        return judgments


def _scale(config: JudgesConfig, channels: int) -> nn.Sequential:
    widths = [config.width * min(2**level, 8) for level in range(config.depth)]
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
    for inputs, outputs in pairwise(widths):
        layers += conv_norm_act(inputs, outputs, 4, stride=2)
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))


class ContentDiscriminator(nn.Sequential):
    """Contents -> judgments; 1 means the source's."""

    def __init__(self, features: int, *, depth: int = 4) -> None:
        layers = [conv_norm_act(features, features, 7, stride=2) for _ in range(depth)]
        super().__init__(*(module for layer in layers for module in layer), nn.Conv2d(features, 1, 3, padding=1))
        self.apply(initialize)


class FeatureDiscriminator(nn.Sequential):
    """A segmenter's feature -> a judgment for every place of it; 1 means the source's [C].

    Args:
        channels: of the feature; the authors' 256.

    Raises:
        ConfigError: not a multiple of 8.
    """

    def __init__(self, channels: int = 256) -> None:
        if channels < 8 or channels % 8:
            raise ConfigError(
                f"Feature discriminator: the feature has {channels} channels; a multiple of 8 is required, for they "
                "are halved three times. Choose another tap, or change the network's widths."
            )
        widths = [channels, channels // 2, channels // 4, channels // 8]
        layers = [conv_norm_act(i, o, 3) for i, o in pairwise(widths)]
        super().__init__(*(module for layer in layers for module in layer), nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.apply(initialize)
