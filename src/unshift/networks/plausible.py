"""Whether a module's output can be what its owner says that it is: logits, or probabilities."""

from __future__ import annotations

from math import nan
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.errors import ConfigError

Kind = Literal["softmax", "sigmoid", "probabilities"]
_ROUNDING = 1e-3
"""Half precision leaves a probability that far outside of [0, 1], and a sum that far from 1."""


def require_probabilities(output: Float[Tensor, "batch class *space"], *, name: str) -> None:
    """Raise unless every finite value can be a probability.

    Args:
        output: of a module that is said to give probabilities.
        name: of the module, for the message.

    Raises:
        ConfigError: a value below 0 or above 1.
    """
    low, high = _range(output)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        told = "`output: sigmoid`" if output.shape[1] == 1 else "`output: softmax`"
        raise ConfigError(
            f"{name}: its output goes from {low:.3g} to {high:.3g}; it is declared to give probabilities, which lie in "
            f"[0, 1]. If these are logits, set {told}."
        )


def doubt(output: Float[Tensor, "batch class *space"], kind: Kind) -> str:
    """Why ``output``, declared as logits, looks like probabilities; empty where it does not, or was not so declared.

    A softmax of what a softmax gave is nearly flat, and a sigmoid of a probability is never below one half: such a
    mistake leaves a segmentation that looks like a bad network's.
    """
    low, high = _range(output)
    if kind == "probabilities" or not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        return ""
    sums = output.detach().float().sum(dim=1)
    whole = output.shape[1] > 1 and bool(((sums - 1).abs() <= 10 * _ROUNDING).all())
    adds = " and add up to 1 over the classes" if whole else ""
    return (
        f"All outputs of the network lie in [0, 1] ({low:.3g} to {high:.3g}){adds}: they look like probabilities, but "
        f"are taken for logits (`output: {kind}`). If it ends in a softmax or sigmoid, set `output: probabilities`."
    )


def _range(output: Tensor) -> tuple[float, float]:
    """Least and greatest finite value; NaN, of which nothing is said, where none is finite."""
    values = output.detach()[torch.isfinite(output)]
    return (float(values.min()), float(values.max())) if values.numel() else (nan, nan)
