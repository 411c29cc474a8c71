"""Source and target batches, and objectives around a tiny network with batch norms, for objectives of adaptation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import erm
from unshift.sample import Batch, Task, UnlabeledBatch

TASK = Task(1, ("background", "liver", "spleen"))


def build(
    member: Any, *, task: Task = TASK, channels: int = 1, widths: tuple[int, ...] = (4, 8), **settings: Any
) -> Any:
    """The objective in training mode; the same initial network every time."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(widths=widths), TASK, channels)
    return member(member.Config(**settings), task, network, ("a",)).train()


def source(seed: int = 7, size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(4, 1, size, size, generator=generator),
        domains=("a",) * 4,
        cases=tuple("1234"),
        seed=seed,
        label_maps=torch.randint(0, 3, (4, size, size), generator=generator),
    )


def target(count: int = 4, size: int = 32, channels: int = 1) -> UnlabeledBatch:
    """Darker and flatter than the source."""
    images = 0.2 + 0.3 * torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))
    return UnlabeledBatch(images, ("t",) * count, tuple(str(i) for i in range(count)), seed=3)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def trained(objective: Any, steps: int = 3) -> Any:
    """After some steps of every phase, as the loop makes them."""
    optimizers = {
        phase: torch.optim.SGD([{"params": g["params"]} for g in groups], lr=0.05)
        for phase, groups in objective.parameter_groups().items()
    }
    for seed in range(steps):
        for phase in objective.phases:
            objective.zero_grad()
            sum(objective(source(seed), target(), phase=phase).values()).backward()
            optimizers[phase].step()
    return objective


def is_erm(objective: Any) -> bool:
    """Whether terms, trained weights and statistics are those of ``erm``, bit for bit."""
    plain = build(erm.MEMBER)
    phase = objective.phases[-1]
    assert equal(objective(source(), target(), phase=phase), plain(source(), phase="train"))
    mine, other = trained(objective).network.state_dict(), trained(plain).network.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
