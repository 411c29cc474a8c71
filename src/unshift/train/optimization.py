"""One turn of one phase: forward, backward, averaging over parts and processes, clipping, update, and the checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from unshift.contracts import Objective
from unshift.errors import ConfigError, NumericalError
from unshift.sample import Batch, UnlabeledBatch
from unshift.train.settings import TrainConfig


@dataclass(frozen=True)
class Turn:
    """Whose turn it is, at which step, and how fast it learns.

    Args:
        step: updates done before.
        phase: of the objective.
        module: the objective as the engine wrapped it.
        optimizer: the phase's, as the engine wrapped it.
        factor: of the schedule.
    """

    step: int
    phase: str
    module: Any
    optimizer: Any
    factor: float


def build_optimizers(objective: Objective, config: TrainConfig) -> dict[str, Optimizer]:
    """Phase -> optimizer, in the order of the phases; a group's ``scale`` is kept in the group.

    Raises:
        ConfigError: the objective's groups are not those of its phases.
    """
    groups = objective.parameter_groups()
    if set(groups) != set(objective.phases):
        raise ConfigError(
            f"{type(objective).__name__}: parameter_groups has {sorted(groups)} but phases are "
            f"{sorted(objective.phases)}; every phase needs its groups. Return one entry for each phase."
        )
    return {
        phase: _optimizer([{"scale": 1.0, **group} for group in groups[phase]], config) for phase in objective.phases
    }


def update(
    fabric: Fabric, turn: Turn, parts: Sequence[tuple[Batch, UnlabeledBatch | None]], *, config: TrainConfig
) -> dict[str, float]:
    """Move the phase's parameters once; returns each term's mean over parts and processes.

    Raises:
        NumericalError: a term or the gradient is not finite; parameters are then as they were.
    """
    for group in turn.optimizer.optimizer.param_groups:
        group["lr"] = config.learning_rate * turn.factor * group["scale"]
    turn.module.zero_grad(set_to_none=True)  # of all parameters: other phases left gradients on this one's
    means: dict[str, float] = {}
    for number, (batch, unlabeled) in enumerate(parts, start=1):
        is_waiting = fabric.world_size > 1 and number < len(parts)
        with fabric.no_backward_sync(turn.module, enabled=is_waiting):
            terms = turn.module(batch, unlabeled, phase=turn.phase)
            values = _averaged(fabric, terms)
            if not all(math.isfinite(value) for value in values.values()):
                raise NumericalError(_story(turn, "the loss", values, parts=[(batch, unlabeled)]))
            fabric.backward(torch.stack(list(terms.values())).sum() / len(parts))
        for term, value in values.items():
            means[term] = means.get(term, 0.0) + value / len(parts)
    norm = _clipped_norm(fabric, turn, config.clip)
    if not math.isfinite(norm):
        raise NumericalError(_story(turn, f"the gradient's norm is {norm} and", means, parts=parts))
    turn.optimizer.step()
    return means


def _optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = Adam if config.optimizer == "adam" else AdamW
    betas = (config.momentum, 0.999)
    return kind(groups, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay)


def _averaged(fabric: Fabric, terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Term -> mean over processes, so that all of them see a NaN of any of them and stop together."""
    values = torch.stack([term.detach().float() for term in terms.values()])
    if fabric.world_size > 1:
        reduced = fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        values = reduced
    return dict(zip(terms, values.tolist(), strict=True))


def _clipped_norm(fabric: Fabric, turn: Turn, clip: float | None) -> float:
    """L2 norm of the phase's gradient before clipping; 0 with a scaler, which skips steps that overflow itself."""
    is_scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    if clip is not None:
        norm = fabric.clip_gradients(turn.module, turn.optimizer, max_norm=clip, error_if_nonfinite=False)
        assert isinstance(norm, Tensor)
        return 0.0 if is_scaled else float(norm)
    if is_scaled:
        return 0.0
    groups = turn.optimizer.optimizer.param_groups
    gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0


def _story(
    turn: Turn,
    what: str,
    terms: Mapping[str, float],
    *,
    parts: Sequence[tuple[Batch, UnlabeledBatch | None]],
) -> str:
    listed = ", ".join(f"{term}={value:.6g}" for term, value in terms.items())
    batches = [batch for pair in parts for batch in pair if batch is not None]
    cases = [f"{d}/{c}" for batch in batches for d, c in zip(batch.domains, batch.cases, strict=True)]
    return (
        f"Step {turn.step}, phase {turn.phase!r}: {what} has terms {listed} on cases {', '.join(cases)}; every term "
        "and gradient must be finite. Look for NaN in these images, lower learning_rate, set clip: 1, or "
        "precision: 32."
    )
