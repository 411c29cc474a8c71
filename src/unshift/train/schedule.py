"""Learning rate as a pure function of the step: nothing to store, nothing to restore."""

from __future__ import annotations

import math

from unshift.train.settings import TrainConfig

POLY_POWER = 0.9


def factor(step: int, config: TrainConfig) -> float:
    """What the learning rate is multiplied with at ``step`` (0 … steps - 1), in (0, 1].

    Linear rise over ``warmup`` steps, the first one above 0; then, with p the share of the remaining steps that is
    done, 1 (``constant``), (1 - p) ** 0.9 (``poly``, as in DeepLab) or (1 + cos(pi p)) / 2 (``cosine``).
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / (config.steps - config.warmup)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "poly":
        return float((1.0 - done) ** POLY_POWER)
    return (1.0 + math.cos(math.pi * done)) / 2.0
