"""Float32 or mixed precision: chosen once per training by a written rule, stored, and kept when it resumes.

``auto`` takes mixed precision where it is faster (GPUs, and CPUs with bfloat16 arithmetic, where all networks of
``benchmarks/precision.py`` gained, 1.7 to 5 times) and only if the losses of the first batch agree with float32
within 2 %.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from unshift.contracts import Objective
from unshift.randomness import seed_step
from unshift.sample import Batch, UnlabeledBatch
from unshift.train.devices import Devices
from unshift.train.settings import TrainConfig

AGREEMENT = 0.02
"""Largest relative difference of any phase's loss on the first batch."""


@dataclass(frozen=True)
class Decision:
    """What was chosen and why, in words for the journal."""

    precision: str
    channels_last: bool
    reason: str


def decide(
    objective: Objective,
    config: TrainConfig,
    devices: Devices,
    *,
    first: Callable[[], tuple[Batch, UnlabeledBatch | None]],
    seed: int,
) -> Decision:
    """The precision of a training.

    Args:
        objective: not changed, nor are its buffers or the global random state.
        config: ``precision`` decides, unless it is ``auto``.
        devices: where it will run.
        first: gives the first batch; called only when losses must be compared.
        seed: of the training.
    """
    flat = objective.task.spatial_dims == 2 or _is_flat(objective)
    if config.precision != "auto":
        mixed = config.precision != "32"
        return Decision(config.precision, flat and (mixed or devices.kind == "cpu"), "set in the configuration")
    candidate, why = candidate_precision(devices)
    if candidate == "32":
        return Decision("32", flat and devices.kind == "cpu", why)
    difference = loss_difference(objective, candidate, devices, first=first, seed=seed)
    if not difference <= AGREEMENT:
        verdict = (
            f"{why}, but losses of the first batch differ from float32 by {difference:.2%} (limit {AGREEMENT:.0%})"
        )
        return Decision("32", flat and devices.kind == "cpu", verdict)
    return Decision(candidate, flat, f"{why}; losses of the first batch agree with float32 within {difference:.2%}")


def candidate_precision(devices: Devices) -> tuple[str, str]:
    """The fastest precision by the rule, before losses are compared, and the reason."""
    if devices.kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "this GPU computes in bfloat16"
        return "16-mixed", "this GPU computes in float16 and not in bfloat16"
    if not cpu_has_bfloat16():
        return "32", "this CPU has no bfloat16 arithmetic"
    return "bf16-mixed", "this CPU computes in bfloat16"


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX-512 BF16 or AMX) instead of emulating it."""
    # torch.cpu.get_capabilities() says the same in public, but torch 2.6 does not have it yet.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def loss_difference(
    objective: Objective,
    candidate: str,
    devices: Devices,
    *,
    first: Callable[[], tuple[Batch, UnlabeledBatch | None]],
    seed: int,
) -> float:
    """Largest relative difference, over phases, between the first batch's loss in ``candidate`` and in float32."""
    batch, unlabeled = (part if part is None else part.to(devices.device) for part in first())
    assert isinstance(batch, Batch)
    dtype = torch.bfloat16 if candidate == "bf16-mixed" else torch.float16
    accelerators = [devices.device] if devices.kind == "cuda" else []
    differences = []
    with torch.random.fork_rng(devices=accelerators):
        twin = copy.deepcopy(objective).to(devices.device).train()
        for phase in objective.phases:
            losses = []
            for context in (nullcontext(), torch.autocast(devices.kind, dtype=dtype)):
                twin.load_state_dict(objective.state_dict())
                seed_step(seed, 0)
                with context:
                    losses.append(_total(twin(batch, unlabeled, phase=phase)))
            full, mixed = losses
            differences.append(abs(mixed - full) / max(abs(full), 1e-6))
    return max(differences)


def _total(terms: dict[str, Tensor]) -> float:
    return sum(float(term.detach()) for term in terms.values())


def _is_flat(objective: Objective) -> bool:
    """Whether convolutions are 2-D although the task's images are volumes (slices, neighbour stacks)."""
    return not any(parameter.ndim == 5 for parameter in objective.parameters())
