"""What objectives of adaptation share: logits of source and target images, and whose batch statistics make them.

Batch norm is where two domains meet first, and published code differs silently there. Two ways, each consistent between
training and test:

* ``joint``: one pass over both; a batch's statistics, and the running ones that a test uses, are those of the mixture.
* ``target``: each domain is normalized with its own statistics, and the running ones are the target's (as AdaBN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.contracts import Network
from unshift.errors import DataError
from unshift.layers.running_statistics import keeping
from unshift.sample import UnlabeledBatch

Statistics = Literal["joint", "target"]


def of_both(
    network: Network,
    source: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "other channel *space"],
    statistics: Statistics,
) -> tuple[Float[Tensor, "batch class *space"], Float[Tensor, "other class *space"]]:
    """Logits of source and of target images."""
    if statistics == "joint":
        source_logits, target_logits = network(torch.cat([source, target])).split([len(source), len(target)])
        return source_logits, target_logits
    with keeping(network, 0.0):
        source_logits = network(source)
    return source_logits, network(target)


def require_target(unlabeled: UnlabeledBatch | None, images: Tensor, *, who: str) -> UnlabeledBatch:
    """The target's images, of the source's channels and size.

    Raises:
        DataError: there are none, or of another shape.
    """
    if unlabeled is None or not len(unlabeled.images):
        raise DataError(f"{who}: no unlabeled image of a target; one or more are required. Give the loader some.")
    if unlabeled.images.shape[1:] != images.shape[1:]:
        raise DataError(
            f"{who}: images of {_listed(unlabeled.domains)} are {_shape(unlabeled.images)} but those of the source "
            f"{_shape(images)} (channels first); one network sees both, so they must agree. Convert the target's."
        )
    return unlabeled


def _listed(domains: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(domains))


def _shape(images: Tensor) -> str:
    return "×".join(map(str, images.shape[1:]))
