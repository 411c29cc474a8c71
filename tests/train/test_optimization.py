"""One update against PyTorch by hand; phases; named errors for NaN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_doubles import Plain, TwoPhases, build, loader, target_loader

from unshift.errors import ConfigError, NumericalError
from unshift.train.devices import Devices
from unshift.train.optimization import Turn, build_optimizers, update
from unshift.train.settings import TrainConfig


def one_update(
    objective: Any, config: TrainConfig, *, phase: str | None = None, factor: float = 1.0
) -> dict[str, float]:
    fabric = Devices(accelerator="cpu").fabric("32")
    optimizers = build_optimizers(objective, config)
    module, *wrapped = fabric.setup(objective, *optimizers.values())
    phase = phase or objective.phases[0]
    optimizer = dict(zip(optimizers, wrapped, strict=True))[phase]
    batches, targets = loader(config), target_loader(config)
    parts = [(batches.batch(0, part=part), targets.batch(0, part=part)) for part in range(config.accumulate)]
    return update(fabric, Turn(0, phase, module, optimizer, factor), parts, config=config)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_equals_the_update_by_hand(name: str) -> None:
    config = TrainConfig(batch_size=4, optimizer=name, learning_rate=0.1, weight_decay=0.01, momentum=0.8, clip=0.05)
    ours = build(Plain, dropout=0.0)
    terms = one_update(ours, config, factor=0.5)
    theirs = build(Plain, dropout=0.0)
    optimizer = {
        "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.999), weight_decay=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.999), weight_decay=0.01),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.01),
    }[name](theirs.parameters())
    expected = theirs.losses("train", loader(config).batch(0))
    sum(expected.values()).backward()  # type: ignore[union-attr]
    norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
    assert norm > 0.05  # the clipping was needed
    optimizer.step()
    assert terms == {term: pytest.approx(float(value.detach())) for term, value in expected.items()}
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_accumulation_equals_one_large_batch() -> None:
    large, small = (build(Plain, norm="instance", dropout=0.0) for _ in range(2))
    at_once = one_update(large, TrainConfig(batch_size=8, optimizer="sgd", learning_rate=0.1))
    in_parts = one_update(small, TrainConfig(batch_size=2, accumulate=4, optimizer="sgd", learning_rate=0.1))
    assert in_parts == {term: pytest.approx(value, rel=1e-5) for term, value in at_once.items()}
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_phase_moves_its_own_parameters_at_its_own_pace() -> None:
    before, after = build(TwoPhases), build(TwoPhases)
    one_update(after, TrainConfig(batch_size=4, optimizer="sgd", learning_rate=0.1), phase="judge")
    assert torch.equal(after.network.last.weight, before.network.last.weight)
    gradient = after.judge.weight.grad
    assert gradient is not None
    torch.testing.assert_close(after.judge.weight, before.judge.weight - 0.05 * gradient)  # scale 0.5


class Broken(Plain):
    """Gives NaN, or a gradient that is not finite behind a finite loss."""

    hidden = False

    def losses(self, phase: str, batch: Any, unlabeled: Any = None) -> dict[str, torch.Tensor]:
        logits = self.network(batch.images)
        if self.hidden:
            return {"fine": (logits * 0).abs().sqrt().sum()}
        return {"fine": logits.mean(), "bad": logits.mean() * float("nan")}


class Hidden(Broken):
    hidden = True


def test_nan_names_step_phase_terms_and_cases() -> None:
    objective = build(Broken)
    before = {name: value.clone() for name, value in objective.named_parameters()}
    with pytest.raises(NumericalError) as caught:
        one_update(objective, TrainConfig(batch_size=2, learning_rate=1.0))
    text = str(caught.value)
    cases = loader(TrainConfig(batch_size=2)).batch(0)
    assert "Step 0, phase 'train'" in text and "bad=nan" in text and "fine=" in text
    assert all(f"{domain}/{case}" in text for domain, case in zip(cases.domains, cases.cases, strict=True))
    assert "lower learning_rate" in text
    assert all(torch.equal(value, before[name]) for name, value in objective.named_parameters())


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite(clip: float | None) -> None:
    objective = build(Hidden)
    with pytest.raises(NumericalError, match=r"the gradient's norm is (nan|inf) and has terms fine=0"):
        one_update(objective, TrainConfig(batch_size=2, clip=clip))


def test_groups_must_be_those_of_the_phases() -> None:
    objective = build(TwoPhases)
    objective.parameter_groups = lambda: {"segment": []}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"parameter_groups has \['segment'\] but phases are \['judge', 'segment'\]"):
        build_optimizers(objective, TrainConfig())
