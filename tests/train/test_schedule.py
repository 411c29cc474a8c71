"""Schedules against PyTorch's own schedulers, and their properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.train.schedule import factor
from unshift.train.settings import TrainConfig


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_equals_torch(schedule: str) -> None:
    steps = 20
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = {
        "poly": lambda: torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=0.9),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
    }[schedule]()
    for step in range(steps):
        assert factor(step, TrainConfig(steps=steps, schedule=schedule)) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        optimizer.step()
        peer.step()


def test_warmup_by_hand() -> None:
    config = TrainConfig(steps=8, warmup=4, schedule="cosine")
    found = [factor(step, config) for step in range(8)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


@given(st.integers(1, 500), st.data(), st.sampled_from(["constant", "poly", "cosine"]))
def test_is_positive_and_falls_after_warmup(steps: int, data: st.DataObject, schedule: str) -> None:
    warmup = data.draw(st.integers(0, steps - 1))
    config = TrainConfig(steps=steps, warmup=warmup, schedule=schedule)
    values = [factor(step, config) for step in range(steps)]
    assert all(0 < value <= 1 for value in values)
    assert values[: warmup + 1] == sorted(values[: warmup + 1])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
