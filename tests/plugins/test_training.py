"""The loop: it finds a minimum, keeps the best state, stops on a plateau; division and draws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unshift.errors import NumericalError
from unshift.plugins.training import TrainingConfig, divide, draw, minimize
from unshift.sample import Sample


class Point(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(value))


def run(config: TrainingConfig, *, start: float = 0.0, best: float = 2.0, held_out: float | None = None):
    point = Point(start)
    history = minimize(
        point,
        lambda step: {"near": (point.at - best).square(), "constant": point.at * 0 + 1},
        lambda: {"near": (point.at - (best if held_out is None else held_out)).square()},
        config,
    )
    return point.at.item(), history


def test_it_reaches_the_minimum_and_logs_every_term() -> None:
    at, history = run(TrainingConfig(steps=300, learning_rate=0.05, check_every=10, patience=3))
    assert at == pytest.approx(2.0, abs=0.05)
    assert set(history[0]) == {"step", "near", "constant", "loss", "held_out"}
    assert [entry["step"] for entry in history] == [10 * (i + 1) for i in range(len(history))]
    assert all(entry["loss"] == pytest.approx(entry["near"] + 1) for entry in history)


def test_a_logged_term_is_the_mean_since_the_last_check() -> None:
    point = Point(0.0)
    history = minimize(
        point,
        lambda step: {"a": point.at * 0 + step},
        lambda: {"a": torch.ones(())},
        TrainingConfig(steps=5, check_every=2, patience=9),
    )
    assert [(entry["step"], entry["a"]) for entry in history] == [(2, 1.5), (4, 3.5), (5, 5.0)]


def test_it_keeps_the_state_that_was_best_on_held_out_images() -> None:
    at, history = run(TrainingConfig(steps=200, learning_rate=0.05, check_every=1, patience=200), held_out=1.0)
    assert at == pytest.approx(1.0, abs=0.05)
    assert (at - 1) ** 2 == pytest.approx(min(entry["held_out"] for entry in history), abs=2e-3)


def test_the_start_is_kept_when_training_only_harms() -> None:
    at, history = run(TrainingConfig(steps=100, learning_rate=0.1, check_every=5, patience=2), held_out=-1.0)
    assert at == 0.0 and len(history) == 2


def test_it_stops_when_it_stops_improving() -> None:
    _, history = run(TrainingConfig(steps=10_000, learning_rate=0.05, check_every=10, patience=3))
    assert history[-1]["step"] < 1000


def test_the_learning_rate_may_be_given_apart() -> None:
    point = Point(0.0)
    minimize(
        point,
        lambda step: {"a": point.at},
        lambda: {"a": point.at},
        TrainingConfig(steps=1),
        learning_rate=0.25,
    )
    assert point.at.item() == pytest.approx(-0.25)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named(value: float) -> None:
    point = Point(0.0)

    def losses(step: int) -> dict[str, Tensor]:
        return {"fine": point.at, "level_4": point.at + (value if step == 3 else 0)}

    with pytest.raises(NumericalError, match="step 3: level_4 is"):
        minimize(point, losses, lambda: {"a": torch.zeros(())}, TrainingConfig())


def samples(patients: list[str]) -> list[Sample]:
    return [Sample(torch.zeros(1, 2, 2), f"{i}", patient, "A") for i, patient in enumerate(patients)]


@given(patients=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), share=st.floats(0, 0.99))
def test_held_out_images_are_of_other_patients(patients: list[str], share: float) -> None:
    given_samples = samples(patients)
    train, held_out = divide(given_samples, share, seed=3)
    assert train and held_out and divide(given_samples, share, seed=3) == (train, held_out)
    if share == 0 or len(set(patients)) == 1:
        assert train == held_out == list(range(len(patients)))
    else:
        assert sorted(train + held_out) == list(range(len(patients)))
        assert not {patients[i] for i in train} & {patients[i] for i in held_out}


def test_share_and_seed_decide_who_is_held_out() -> None:
    many = samples([str(i) for i in range(20)])
    assert len(divide(many, 0.15, seed=0)[1]) == 3
    assert divide(many, 0.15, seed=0) != divide(many, 0.15, seed=1)


@given(count=st.integers(1, 9), size=st.integers(1, 30))
def test_draws_are_even(count: int, size: int) -> None:
    drawn = draw(torch.Generator().manual_seed(0), count, size)
    assert len(drawn) == size and set(drawn) <= set(range(count))
    times = [drawn.count(i) for i in range(count)]
    assert max(times) - min(times) <= 1
