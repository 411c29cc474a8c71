"""Several views of one image: what normalizations make of it, and its flips."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.contracts import Normalization
from unshift.errors import ConfigError, ShapeMismatch
from unshift.predict.window import Network
from unshift.sample import Sample


def views_of(
    sample: Sample, preprocessing: Sequence[Normalization], normalizations: Sequence[Normalization]
) -> list[Sample]:
    """``sample`` through all of ``preprocessing``, then each view of a normalization through the next one.

    Raises:
        ConfigError: a preprocessing step gives other than one view, or a normalization none.
        ShapeMismatch: a view lies on another grid or has other channels than the sample.
    """
    views = [sample]
    for step in (*preprocessing, *normalizations):
        following = [step.views(view) for view in views]
        for found in following:
            if not found or (step in preprocessing and len(found) > 1):
                raise ConfigError(
                    f"{type(step).__name__}: gave {len(found)} views of case {sample.case!r}; preprocessing must give "
                    "exactly one and a normalization at least one. List it under normalizations."
                )
        views = list(chain.from_iterable(following))
        for view in views:
            if view.image.shape != sample.image.shape:
                raise ShapeMismatch(
                    f"{type(step).__name__}: view of case {sample.case!r} is {list(view.image.shape)} but its image is "
                    f"{list(sample.image.shape)}; a view must stay on the image's grid. Correct the normalization."
                )
    return views


def mirrored(network: Network, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
    """Mean of the network's output (probabilities or logits) over all flips of the spatial axes: 4 in 2-D, 8 in 3-D."""
    axes = range(2, images.ndim)
    flips = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))
    total = network(images)
    for flip in flips[1:]:
        total = total + torch.flip(network(torch.flip(images, flip)), flip)
    return total / len(flips)
