"""The rule of ``auto``, and that looking for it changes nothing."""

from __future__ import annotations

import pytest
import torch
from training_doubles import Plain, build, loader

from unshift.train import precision
from unshift.train.devices import Devices
from unshift.train.precision import Decision, candidate_precision, decide, loss_difference
from unshift.train.settings import TrainConfig

CPU = Devices(accelerator="cpu")


def first():
    return loader(TrainConfig(batch_size=4)).batch(0), None


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that multiplies bfloat16."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)


def test_what_the_configuration_says_is_done_without_a_look() -> None:
    def never() -> tuple:
        raise AssertionError("a batch was drawn")

    config = TrainConfig(precision="bf16-mixed")
    assert decide(build(), config, CPU, first=never, seed=0) == Decision("bf16-mixed", True, "set in the configuration")


def test_auto_takes_bfloat16_where_losses_agree(bfloat16: None) -> None:
    decision = decide(build(), TrainConfig(), CPU, first=first, seed=0)
    assert (decision.precision, decision.channels_last) == ("bf16-mixed", True)
    assert "agree with float32 within" in decision.reason


def test_the_look_changes_nothing() -> None:
    objective = build(dropout=0.5)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    state = torch.get_rng_state()
    assert loss_difference(objective, "bf16-mixed", CPU, first=first, seed=0) < 0.02
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert all(parameter.grad is None for parameter in objective.parameters())


class Rounded(Plain):
    """A loss that lives on differences that bfloat16 cannot hold."""

    def losses(self, phase, batch, unlabeled=None):
        features = self.network(batch.images)
        return {"tiny": ((1000 + features) - 1000).abs().mean()}


def test_auto_stays_with_float32_where_losses_differ(bfloat16: None) -> None:
    decision = decide(build(Rounded), TrainConfig(), CPU, first=first, seed=0)
    assert decision.precision == "32"
    assert "differ from float32 by" in decision.reason


def test_rules_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
    assert candidate_precision(CPU) == ("bf16-mixed", "this CPU computes in bfloat16")
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    assert candidate_precision(CPU) == ("32", "this CPU has no bfloat16 arithmetic")
