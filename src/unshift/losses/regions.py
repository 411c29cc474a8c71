"""Losses of regions that may lie in one another (cup in disc), each with a sigmoid of its own, from class logits.

A network's output stays one logit a class, so that what is exported and predicted does not change. A region R is a set
of labels (:attr:`unshift.sample.Task.regions`); its logit follows from the classes' z::

    z_R = log sum(exp z_c, c in R) - log sum(exp z_c, c not in R)          sigmoid(z_R) = sum(softmax(z)_c, c in R)

A region that lies in another one is then never the more probable of the two, which independent sigmoids do not promise.
Everything is computed in float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def region_logits(
    logits: Float[Tensor, "batch class *space"], regions: Mapping[str, frozenset[int]]
) -> Float[Tensor, "batch region *space"]:
    """Class logits -> one logit a region, in the regions' order."""
    logits = logits.float()
    labels = range(logits.shape[1])
    found = []
    for members in regions.values():
        inside, outside = ([label for label in labels if (label in members) == wanted] for wanted in (True, False))
        found.append(logits[:, inside].logsumexp(1) - logits[:, outside].logsumexp(1))
    return torch.stack(found, dim=1)


def region_masks(
    label_maps: Int[Tensor, "batch *space"], regions: Mapping[str, frozenset[int]]
) -> Float[Tensor, "batch region *space"]:
    """Label maps -> 1 inside and 0 outside of every region."""
    masks = [
        sum((label_maps == label for label in members), torch.zeros_like(label_maps)) for members in regions.values()
    ]
    return torch.stack(masks, dim=1).float()


def region_terms(
    logits: Float[Tensor, "batch region *space"], masks: Float[Tensor, "batch region *space"]
) -> dict[str, Tensor]:
    """``cross_entropy`` (binary, mean over everything) and ``dice`` (1 - soft Dice, mean over images and regions).

    Dice as in :mod:`unshift.losses.overlap`: squared denominators, 1e-6 in the denominator alone.
    """
    with torch.autocast(logits.device.type, enabled=False):
        probabilities, axes = logits.float().sigmoid(), tuple(range(2, logits.ndim))
        both = (probabilities * masks).sum(axes)
        dice = 2 * both / (probabilities.square().sum(axes) + masks.square().sum(axes) + 1e-6)
        return {
            "cross_entropy": F.binary_cross_entropy_with_logits(logits.float(), masks),
            "dice": (1 - dice).mean(),
        }
