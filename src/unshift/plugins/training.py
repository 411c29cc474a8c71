"""The short loop that trains units: Adam on a few numbers, stopped by a plateau on held-out style images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from unshift.config import Config
from unshift.errors import NumericalError
from unshift.randomness import torch_generator
from unshift.sample import Sample

LEAST_GAIN = 1e-3
"""A held-out loss counts as better when it is lower by this share."""

Terms = Mapping[str, Tensor]


class TrainingConfig(Config):
    """How long units are trained and when they are done."""

    steps: int = Field(1000, ge=1, description="of the optimizer, at most")
    batch_size: int = Field(8, ge=1, description="images a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    held_out: float = Field(0.15, ge=0, lt=1, description="share of the style images that only decides when to stop")
    check_every: int = Field(25, ge=1, description="steps between looks at the held-out images")
    patience: int = Field(6, ge=1, description="looks without improvement after which training stops")


def minimize(
    module: nn.Module,
    losses: Callable[[int], Terms],
    check: Callable[[], Terms],
    config: TrainingConfig,
    *,
    learning_rate: float | None = None,
) -> list[dict[str, float]]:
    """Train ``module`` on the sum of terms until ``check()`` stops improving, and leave it as it was at its best.

    Args:
        module: what is trained; its state is replaced by that of the best check, the start included.
        losses: step -> term -> scalar; all randomness is a function of the step.
        check: the terms on held-out images; called without gradients.
        config: steps, patience.
        learning_rate: in place of the config's.

    Returns:
        One entry a check: ``step``, the mean of every term since the last, their sum as ``loss``, and ``held_out``.

    Raises:
        NumericalError: a loss is not finite; names step and terms.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate or config.learning_rate)
    history: list[dict[str, float]] = []
    best, state, waited = _held_out(check, 0), _copy(module), 0
    seen: list[dict[str, float]] = []
    for step in range(1, config.steps + 1):
        terms = losses(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append(_finite(terms, step))
        if step % config.check_every and step < config.steps:
            continue
        value = _held_out(check, step)
        means = {name: sum(entry[name] for entry in seen) / len(seen) for name in seen[0]}
        history.append({"step": step, **means, "loss": sum(means.values()), "held_out": value})
        seen, waited = [], waited + 1
        if value < best - LEAST_GAIN * abs(best):
            best, state, waited = value, _copy(module), 0
        if waited == config.patience:
            break
    module.load_state_dict(state)
    return history


def divide(samples: Sequence[Sample], share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the samples to train on and of held-out ones of other patients, in order.

    Where fewer than two patients are there, or ``share`` is 0, the same images serve for both.
    """
    patients = sorted({(sample.domain, sample.patient) for sample in samples})
    count = min(max(round(share * len(patients)), 1), len(patients) - 1) if share > 0 else 0
    everyone = list(range(len(samples)))
    if not count:
        return everyone, everyone
    order = torch.randperm(len(patients), generator=torch_generator(seed, "held-out style images")).tolist()
    chosen = {patients[i] for i in order[:count]}
    is_held_out = [(sample.domain, sample.patient) in chosen for sample in samples]
    return [i for i in everyone if not is_held_out[i]], [i for i in everyone if is_held_out[i]]


def draw(generator: torch.Generator, count: int, size: int) -> list[int]:
    """``size`` indices below ``count``, uniform; none comes twice where there are enough."""
    rounds: Iterable[Tensor] = (torch.randperm(count, generator=generator) for _ in range(-(-size // count)))
    return torch.cat(list(rounds))[:size].tolist()


def _held_out(check: Callable[[], Terms], step: int) -> float:
    with torch.no_grad():
        return sum(_finite(check(), step).values())


def _finite(terms: Terms, step: int) -> dict[str, float]:
    values = {name: float(term.detach()) for name, term in terms.items()}
    bad = [f"{name} is {value}" for name, value in values.items() if not abs(value) < float("inf")]
    if bad:
        raise NumericalError(f"Units, step {step}: {', '.join(bad)}; finite losses are required. {_ADVICE}")
    return values


_ADVICE = "Check the network's weights and the images, or lower the learning rate."


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
