"""The most probable class of every place, on a CPU several times faster than torch's argmax over the first axis."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def most_probable(probabilities: Float[Tensor, "class *space"]) -> Int[Tensor, "*space"]:
    """Label map int64 of the class with the largest value; of equal ones the first, as ``argmax(0)`` of finite values.

    One pass a class over whole planes, where argmax walks through the classes of one place after another.
    """
    best = probabilities[0].clone()
    label_map = torch.zeros_like(best, dtype=torch.int64)
    for label, plane in enumerate(probabilities[1:], start=1):
        label_map.masked_fill_(plane > best, label)
        torch.maximum(best, plane, out=best)
    return label_map
