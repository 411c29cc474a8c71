"""Overlap losses: soft Dice with squared denominators, and its companion cross-entropy.

The formula, for one image and one class with probabilities ``p`` (softmax over classes) and one-hot reference ``y``::

    Dice  =  2 * sum(p * y) / (sum(p^2) + sum(y^2) + 1e-6)          sums over space
    loss  =  mean over images and classes of (1 - Dice)

There is no numerator smoothing. A class that is absent from an image therefore has Dice 0 and loss 1, *whatever* is
predicted, and sends no gradient (the numerator, and with it every derivative, is exactly 0): it shifts the loss by a
constant and only cross-entropy pushes its probability down. This is the criterion of SLAug that the colour-quality
paper took over; it is MONAI's ``DiceLoss(squared_pred=True, smooth_nr=0, smooth_dr=1e-6)``, which computes it here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from monai.losses import DiceLoss
from torch import Tensor

from unshift.errors import ShapeMismatch

_ALL_CLASSES = DiceLoss(to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6)
_FOREGROUND = DiceLoss(
    include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6
)


def dice_loss(
    logits: Float[Tensor, "batch class *space"],
    label_maps: Int[Tensor, "batch *space"],
    *,
    include_background: bool = True,
) -> Float[Tensor, ""]:
    """1 - soft Dice, averaged over images and classes; between 0 and 1.

    Computed in float32 also under autocast: sums of squares over an image leave the range of half precision.

    Args:
        logits: two or more classes, before softmax.
        label_maps: labels 0 … class - 1.
        include_background: whether class 0 takes part in the average (the paper: yes).

    Raises:
        ShapeMismatch: the two do not share one grid.
    """
    _check(logits, label_maps)
    criterion = _ALL_CLASSES if include_background else _FOREGROUND
    with torch.autocast(logits.device.type, enabled=False):
        return criterion(logits.float(), label_maps[:, None])


def cross_entropy(
    logits: Float[Tensor, "batch class *space"], label_maps: Int[Tensor, "batch *space"]
) -> Float[Tensor, ""]:
    """Categorical cross-entropy in nats, averaged over images and pixels, in float32 also under autocast.

    Raises:
        ShapeMismatch: the two do not share one grid.
    """
    _check(logits, label_maps)
    return F.cross_entropy(logits.float(), label_maps)


def segmentation_terms(
    logits: Float[Tensor, "batch class *space"],
    label_maps: Int[Tensor, "batch *space"],
    *,
    include_background: bool = True,
) -> dict[str, Tensor]:
    """``{"cross_entropy": …, "dice": …}``: the two terms whose sum is the papers' "DC" criterion."""
    return {
        "cross_entropy": cross_entropy(logits, label_maps),
        "dice": dice_loss(logits, label_maps, include_background=include_background),
    }


def _check(logits: Tensor, label_maps: Tensor) -> None:
    if logits.shape[0] != label_maps.shape[0] or logits.shape[2:] != label_maps.shape[1:]:
        raise ShapeMismatch(
            f"Segmentation loss: logits are {list(logits.shape)} but label maps are {list(label_maps.shape)}; "
            "[batch, class, *space] and [batch, *space] of one grid are required. Return logits at the input's size."
        )
