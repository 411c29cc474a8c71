"""How many pixels of an image have which color: 8 × 8 × 8 boxes of RGB, inside the field of view.

By these the global reference of DCIN is chosen. The authors' code counts the whole frame, black borders too, and
divides by the length (``l2``); a share of pixels (``l1``) is the other reading of the paper's "normalized".
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.normalizations.color_method import require

LEVELS = 8
BINS = LEVELS**3
Norm = Literal["l2", "l1"]
_ROUNDING = 1e-3
"""Of a grey level of 8 bits: values that were whole levels fall into their own box."""


def color_histograms(
    images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
) -> Float[Tensor, "batch 512"]:
    """The share of pixels in each box, float32, summing to 1; box = 64 · red + 8 · green + blue.

    A box spans 32 of 256 grey levels, as in the authors' code (theirs are in the order blue, green, red, which changes
    no distance). A grey image counts as one with three equal channels.

    Args:
        images: in [0, 1], of any depth; values beyond belong to the outermost boxes.

    Raises:
        ShapeMismatch: neither one nor three channels, or a field of view on another grid.
        DataError: the field of view of an image is empty.
    """
    require(images, inside)
    levels = ((images.float() * 255 + _ROUNDING) / 32).long().clamp(0, LEVELS - 1).flatten(2)
    weights = torch.tensor([LEVELS**2, LEVELS, 1], device=images.device).view(1, -1, 1)
    boxes = (levels * weights).sum(1)  # one channel is spread over three weights
    found = []
    for index, row in enumerate(boxes):
        valid = row if inside is None else row[inside[index].flatten()]
        found.append(torch.bincount(valid, minlength=BINS).double() / len(valid))
    return torch.stack(found).float()


def normalized(shares: Float[Tensor, "n 512"], norm: Norm) -> Float[Tensor, "n 512"]:
    """Histograms whose squares (``l2``) or entries (``l1``) sum to 1."""
    return shares / shares.norm(dim=1, keepdim=True) if norm == "l2" else shares
