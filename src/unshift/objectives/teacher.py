"""A slow copy of a network that follows it, once a step, and goes on exactly after a resumption."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unshift.contracts import Network


class Teacher(nn.Module):
    """The moving average of a network's parameters; without gradients.

    Its batch norms follow the mode that it is in: in training they compute from the batch that it is shown.

    Args:
        student: copied; equal to it until its first step.
    """

    def __init__(self, student: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.updates: Tensor
        self._followed: int | None = None

    @torch.no_grad()
    def follow(self, student: Network, momentum: float) -> None:
        """Keep the share min(1 - 1 / (updates + 1), momentum) and take the rest from the student, in training alone.

        Once for every step of the student, however often it is asked at that step: steps write into the weights, which
        torch counts. A fresh object, at a training's begin or resumed from the end of a step, counts as moved.
        """
        if not self.training:
            return
        version = sum(parameter._version for parameter in student.parameters())
        if version == self._followed:
            return
        self._followed = version
        kept = min(1 - 1 / (int(self.updates) + 1), momentum)
        for mine, others in zip(self.network.parameters(), student.parameters(), strict=True):
            mine.lerp_(others.to(mine), 1 - kept)
        self.updates += 1

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
        """Logits."""
        logits: Tensor = self.network(images)
        return logits
