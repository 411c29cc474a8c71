"""An image translator: what is where (content) and what it looks like (style) taken apart, and put together again.

The style-transfer module of DAR-UNet, the sibling repository of GLUA's authors ([C]; whether GLUA's own is the same is
not known; the code was not used). Two-dimensional images in [-1, 1]; a content encoder and a decoder that both domains
share, one style encoder a domain, a code of 8 numbers. With the width w = 32::

    content   7x7 w, 4x4/2 2w, 4x4/2 4w (affine instance norm, leaky ReLU 0.2); 4 pre-activation residual blocks of 4w
    style     7x7 w, 4x4/2 of 2w, 4w, 4w, 4w, 4w; mean over the image; 8 numbers
    decoder   4 residual blocks of 4w; enlarged twice by 2, 5x5 to 2w and to w; 7x7, tanh. All norms AdaIN
    AdaIN     scale 1 + g and shift from the code by a perceptron of 4w and 8w hidden numbers

A residual block's sum is divided by the square root of 2. It is no member of the family: a :class:`Network` is a
segmenter (features at taps, logits of classes), and a translator gives images and needs a code beside the image.

Decided here [F]: the 7x7 convolutions reflect at the border (zero is mid-gray in [-1, 1], where medical images are
black), the others pad with zeros; no bias in front of a norm, where it would be without effect. The decoder's 5x5
convolutions are computed on the small feature (:mod:`unshift.layers.enlarging`), with the same result.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from unshift.config import Config
from unshift.errors import ShapeMismatch
from unshift.layers.enlarging import Enlarging
from unshift.losses.translation import Codes, Contents, Images, Side

DOMAINS = ("source", "target")
STRIDE = 4
"""Pixels of the image per pixel of its content."""
SLOPE = 0.2


class TranslatorConfig(Config):
    """Sizes; the defaults are the authors'."""

    width: int = Field(32, ge=1, description="channels at full resolution")
    blocks: int = Field(4, ge=0, description="residual blocks of the encoder, and of the decoder")
    code: int = Field(8, ge=1, description="numbers that describe a style")
    style_depth: int = Field(5, ge=1, description="halvings in a style encoder")


class Translator(nn.Module):
    """Content encoder, style encoders by domain, decoder.

    Args:
        config: sizes.
        channels: of the images.
    """

    def __init__(self, config: TranslatorConfig, channels: int) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        self.content = _content_encoder(config, channels)
        self.style = nn.ModuleDict({name: _StyleEncoder(config, channels) for name in DOMAINS})
        self.decoder = _Decoder(config, channels)
        self.apply(initialize)

    @property
    def least_side(self) -> int:
        """The smallest side of an image: an instance norm needs more than one pixel."""
        return max(2 * STRIDE, 2 ** (self.config.style_depth + 1))

    def check(self, images: Tensor) -> None:
        """Raise for images that cannot be translated.

        Raises:
            ShapeMismatch: volumes; another number of channels; sides that are too small or no multiples of 4.
        """
        if images.ndim != 4:
            raise ShapeMismatch(
                f"Translator: images have {images.ndim} axes; [batch, channel, height, width] is required. Give "
                "`input.size` two numbers, so that volumes are translated slice by slice."
            )
        if images.shape[1] != self.channels:
            raise ShapeMismatch(
                f"Translator: images have {images.shape[1]} channel(s); it was built for {self.channels}. Source and "
                "target need the same number. Convert one of them."
            )
        sides = tuple(images.shape[2:])
        if min(sides) < self.least_side or any(side % STRIDE for side in sides):
            raise ShapeMismatch(
                f"Translator: images are {sides[0]}×{sides[1]}; sides must be multiples of {STRIDE} and at least "
                f"{self.least_side}. Change `input.size`, or lower `style_depth` ({self.config.style_depth})."
            )

    def decode(self, content: Contents, code: Codes) -> Images:
        """Images of this content and this style, in [-1, 1]."""
        return self.decoder(content, code)

    def forward(self, images: Images, code: Codes) -> Images:
        """Images in [-1, 1], of any domain, in the style of ``code``."""
        self.check(images)
        return self.decode(self.content(images), code)

    def cycle(self, source: Images, target: Images) -> tuple[Side, Side]:
        """Everything that the generator's terms need, of as many source images as target images.

        Raises:
            ShapeMismatch: they differ in number or size.
        """
        self.check(source)
        self.check(target)
        if source.shape != target.shape:
            raise ShapeMismatch(
                f"Translator: {tuple(source.shape)} source images and {tuple(target.shape)} target images; they are "
                "taken in pairs and must agree. Give both the same batch size and `input.size`."
            )
        images = torch.cat([source, target])
        contents = self.content(images)
        styles = torch.cat([self.style["source"](source), self.style["target"](target)])
        exchanged = styles.roll(len(source), 0)
        decoded = self.decode(torch.cat([contents, contents]), torch.cat([styles, exchanged]))
        reconstructed, translated = decoded.chunk(2)
        contents_again = self.content(translated)
        to_target, to_source = translated.chunk(2)
        styles_again = torch.cat([self.style["source"](to_source), self.style["target"](to_target)])
        cycled = self.decode(contents_again, styles)
        parts = (images, contents, styles, reconstructed, translated, contents_again, styles_again, cycled)
        first, second = zip(*(part.chunk(2) for part in parts), strict=True)
        return Side(*first), Side(*second)

    def exchange(self, source: Images, target: Images) -> tuple[Images, Images, Contents, Contents]:
        """Translations of source and target images with each other's style, and their contents."""
        content, other = self.content(torch.cat([source, target])).chunk(2)
        styles = torch.cat([self.style["target"](target), self.style["source"](source)])
        translated, other_translated = self.decode(torch.cat([content, other]), styles).chunk(2)
        return translated, other_translated, content, other


def as_signed(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1], where a translator works."""
    return 2 * images - 1


def as_unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], float32."""
    return (images.float() + 1) / 2


def initialize(module: nn.Module) -> None:
    """Kaiming's normal weights for convolutions and linear layers, zero biases [C]."""
    if isinstance(module, nn.Conv2d | nn.Linear | Enlarging):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def activated(features: Tensor) -> Tensor:
    """Leaky ReLU; in place, for norms before it keep what their gradient needs."""
    return F.leaky_relu(features, SLOPE, inplace=True)


def conv_norm_act(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, border: Literal["reflect", "zeros"] = "zeros"
) -> nn.Sequential:
    """Convolution padded to sides of 1 / ``stride``, affine instance norm, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False, padding_mode=border),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class _Residual(nn.Module):
    """(IN, leaky ReLU, 3x3), twice, beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for _ in range(2))
        self.convolutions = _pair(width)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(activated(norm(y)))
        return (x + y) * math.sqrt(0.5)


def _pair(width: int) -> nn.ModuleList:
    """The two convolutions of a block; a norm follows the first."""
    return nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=bias) for bias in (False, True))


def _content_encoder(config: TranslatorConfig, channels: int) -> nn.Sequential:
    width = config.width
    return nn.Sequential(
        conv_norm_act(channels, width, 7, border="reflect"),
        conv_norm_act(width, 2 * width, 4, stride=2),
        conv_norm_act(2 * width, 4 * width, 4, stride=2),
        *(_Residual(4 * width) for _ in range(config.blocks)),
    )


class _StyleEncoder(nn.Module):
    """Images -> codes."""

    def __init__(self, config: TranslatorConfig, channels: int) -> None:
        super().__init__()
        widths = [config.width, 2 * config.width, *[4 * config.width] * (config.style_depth - 1)]
        self.body = nn.Sequential(
            conv_norm_act(channels, widths[0], 7, border="reflect"),
            *(conv_norm_act(i, o, 4, stride=2) for i, o in pairwise(widths)),
        )
        self.head = nn.Linear(widths[-1], config.code)

    def forward(self, images: Images) -> Codes:
        return self.head(self.body(images).mean((2, 3)))


class _Decoder(nn.Module):
    """Contents and codes -> images."""

    def __init__(self, config: TranslatorConfig, channels: int) -> None:
        super().__init__()
        width = config.width
        deep = 4 * width
        self.blocks = nn.ModuleList(_pair(deep) for _ in range(config.blocks))
        self.enlargements = nn.ModuleList([_enlarging(deep, 2 * width), _enlarging(2 * width, width)])
        self.head = nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect")
        self.widths = (*[deep] * (2 * config.blocks + 1), 2 * width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(config.code, deep), nn.ReLU(inplace=True), nn.Linear(deep, 2 * deep), nn.ReLU(inplace=True),
            nn.Linear(2 * deep, 2 * sum(self.widths)),
        )  # fmt: skip

    def forward(self, content: Contents, code: Codes) -> Images:
        found = self.perceptron(code)
        found = found if found.dtype == torch.float64 else found.float()  # norms keep theirs under autocast
        styled = iter(part.chunk(2, dim=1) for part in found.split([2 * width for width in self.widths], dim=1))
        x = content
        for block in self.blocks:
            y = x
            for convolution in block:  # type: ignore[attr-defined]
                y = convolution(activated(adain(y, *next(styled))))
            x = (x + y) * math.sqrt(0.5)
        x = activated(adain(x, *next(styled)))
        for enlargement in self.enlargements:
            x = activated(adain(enlargement(x), *next(styled)))
        return torch.tanh(self.head(x))


def _enlarging(inputs: int, outputs: int) -> Enlarging:
    return Enlarging(inputs, outputs, bias=False)


def adain(
    features: Float[Tensor, "batch channel height width"],
    scale: Float[Tensor, "batch channel"],
    shift: Float[Tensor, "batch channel"],
    *,
    eps: float = 1e-5,
) -> Float[Tensor, "batch channel height width"]:
    """Features with mean 0 and deviation 1 in every channel of every image, times 1 + ``scale``, plus ``shift``.

    One batch norm in which every channel of every image is a channel of its own.
    """
    flat = features.reshape(1, -1, *features.shape[2:])
    return F.batch_norm(flat, None, None, (1 + scale).flatten(), shift.flatten(), training=True, eps=eps).reshape(
        features.shape
    )
