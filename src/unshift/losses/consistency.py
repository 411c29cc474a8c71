"""Symmetric Kullback-Leibler divergence of two predictions, from logits, so that no probability underflows.

    KL(p, q) + KL(q, p) = sum over outcomes of (p - q) (log p - log q)

The outcomes are the classes of a softmax, or inside and outside of a sigmoid: there (p - q) (z_p - z_q) of the two
logits. With log-probabilities taken from logits in float32 the result is finite for logits of any size that half
precision holds; log(softmax) is not, from logits of about 17 in half and 100 in single precision.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def softmax_divergence(
    first: Float[Tensor, "batch class *space"], second: Float[Tensor, "batch class *space"]
) -> Float[Tensor, ""]:
    """Mean over images, classes and space (as RAM-DSIR has it: the divergence itself is ``class`` times this)."""
    with torch.autocast(first.device.type, enabled=False):
        p, q = first.float().log_softmax(1), second.float().log_softmax(1)
        return ((p.exp() - q.exp()) * (p - q)).mean()


def sigmoid_divergence(
    first: Float[Tensor, "batch region *space"], second: Float[Tensor, "batch region *space"]
) -> Float[Tensor, ""]:
    """Mean over images, regions and space of the divergence between inside and outside."""
    with torch.autocast(first.device.type, enabled=False):
        p, q = first.float(), second.float()
        return ((p.sigmoid() - q.sigmoid()) * (p - q)).mean()
