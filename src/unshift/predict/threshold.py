"""Regions whose probability exceeds a number, in place of the most probable class.

RAM-DSIR predicts disc and cup by two sigmoids above 0.75. Here the classes' probabilities sum to 1, a region's is the
sum of its labels', and a label map can hold what the threshold says when each region contains the next (disc ⊃ cup).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift.errors import ConfigError
from unshift.predict.most_probable import most_probable
from unshift.sample import Task


def nested(task: Task) -> list[frozenset[int]]:
    """The regions' labels from the largest region to the smallest.

    Raises:
        ConfigError: two regions are equal, or none of the two contains the other.
    """
    chain = sorted(task.regions.values(), key=len, reverse=True)
    for outer, inner in pairwise(chain):
        if not inner < outer:
            raise ConfigError(
                f"predict.threshold: regions {', '.join(task.regions)} do not contain one another, so a label map "
                "cannot hold what a threshold says of each. Remove predict.threshold."
            )
    return chain


def thresholded(probabilities: Float[Tensor, "class *space"], task: Task, threshold: float) -> Int[Tensor, "*space"]:
    """Label map in which a region is where its probability is above ``threshold``.

    Of the labels that only the larger of two regions has, the most probable one is taken.
    """
    chain = nested(task)
    label_map = torch.zeros(probabilities.shape[1:], dtype=torch.int64)
    for region, inner in zip(chain, [*chain[1:], frozenset[int]()], strict=True):
        inside = probabilities[sorted(region)].sum(dim=0) > threshold
        own = torch.tensor(sorted(region - inner))
        label_map[inside] = own[most_probable(probabilities[own])][inside]
    return label_map
