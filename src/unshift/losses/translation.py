"""What an image translator minimizes: six generator terms, and the least-squares terms of its discriminators.

With a = source, b = target, c content, s style, ab = dec(c_a, s_b), ba = dec(c_b, s_a), D_a, D_b discriminators of
images and D_c of contents ([C] of DAR-UNet, the sibling translator of GLUA's authors; not known of GLUA itself)::

    10 (|a - dec(c_a, s_a)| + |b - dec(c_b, s_b)|)       reconstruction
    10 (|a - dec(c(ab), s_a)| + |b - dec(c(ba), s_b)|)   cycle
     1 (|c_a - c(ab)| + |c_b - c(ba)|)                   content
     1 (|s_a - s_a(ba)| + |s_b - s_b(ab)|)               style
     1 (adv(ba | D_a) + adv(ab | D_b))                   image
     1 ((D_c(c_b) - 1)² + D_c(c_a)²)                     confusion

Each |…| is a mean. Discriminators: fake 0, real 1; content of the target 0, of the source 1.

Not stated there, and decided here [F]: an adversary of several scales counts their sum; no term stops a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift.config import Config
from unshift.losses.adversarial import squared

Images = Float[Tensor, "batch channel height width"]
Contents = Float[Tensor, "batch feature rows columns"]
Codes = Float[Tensor, "batch code"]


class TranslationWeights(Config):
    """Of the six generator terms."""

    reconstruction: float = Field(10.0, ge=0)
    cycle: float = Field(10.0, ge=0)
    content: float = Field(1.0, ge=0)
    style: float = Field(1.0, ge=0)
    image: float = Field(1.0, ge=0, description="of the image discriminators")
    confusion: float = Field(1.0, ge=0, description="of the content discriminator")


@dataclass(frozen=True)
class Side:
    """What the translator made of the images of one domain; the other domain is ``other``.

    Args:
        image: float [batch, channel, height, width] in [-1, 1].
        content, style: encoded from it.
        reconstructed: decoded from both.
        translated: of its content and the other's style.
        content_again: encoded from ``translated``.
        style_again: of *this* domain's style, encoded from the other's translation, which carries it.
        cycled: decoded from ``content_again`` and ``style``.
    """

    image: Images
    content: Contents
    style: Codes
    reconstructed: Images
    translated: Images
    content_again: Contents
    style_again: Codes
    cycled: Images


def encoding_terms(source: Side, target: Side) -> dict[str, Float[Tensor, ""]]:
    """The four unweighted terms that need no discriminator; float32 also under autocast."""
    sides = (source, target)
    return {
        "reconstruction": _total([distance(side.image, side.reconstructed) for side in sides]),
        "cycle": _total([distance(side.image, side.cycled) for side in sides]),
        "content": _total([distance(side.content, side.content_again) for side in sides]),
        "style": _total([distance(side.style, side.style_again) for side in sides]),
    }


def weighted(terms: dict[str, Tensor], weights: TranslationWeights) -> dict[str, Float[Tensor, ""]]:
    """Each term times the weight of its name."""
    return {name: getattr(weights, name) * term for name, term in terms.items()}


def distance(first: Tensor, second: Tensor) -> Float[Tensor, ""]:
    """Mean absolute difference, in float32."""
    return F.l1_loss(first.float(), second.float())


def least_squares(judgments: Sequence[Tensor], wanted: float) -> Float[Tensor, ""]:
    """Mean squared distance to ``wanted``, summed over the scales of a discriminator, in float32."""
    return _total([squared(judgment, wanted) for judgment in judgments])


def discrimination(zero: Sequence[Tensor], one: Sequence[Tensor]) -> Float[Tensor, ""]:
    """What a discriminator minimizes: judgments of the one kind towards 0, of the other towards 1."""
    return least_squares(zero, 0.0) + least_squares(one, 1.0)


def _total(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
