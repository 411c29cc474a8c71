"""Seeds are pure functions of their labels."""

from __future__ import annotations

import subprocess
import sys

import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift import randomness


@given(st.integers(0, 2**31), st.text(max_size=8), st.text(max_size=8))
def test_labels_decide(seed: int, a: str, b: str) -> None:
    assert randomness.derive(seed, a) == randomness.derive(seed, a)
    if a != b:
        assert randomness.derive(seed, a) != randomness.derive(seed, b)
    assert 0 <= randomness.derive(seed, a, b) < 2**63


def test_same_in_another_process() -> None:
    code = "from unshift.randomness import derive; import sys; sys.stdout.write(str(derive(7, 'x', 3)))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(other) == randomness.derive(7, "x", 3)


def test_generators_repeat() -> None:
    a = torch.rand(4, generator=randomness.torch_generator(1, "a"))
    assert torch.equal(a, torch.rand(4, generator=randomness.torch_generator(1, "a")))
    assert randomness.numpy_generator(1, "a").random() == randomness.numpy_generator(1, "a").random()


def test_a_step_draws_what_it_drew_before() -> None:
    with torch.random.fork_rng(devices=[]):
        randomness.seed_step(3, 10)
        first = torch.rand(3)
        randomness.seed_step(3, 11)
        other = torch.rand(3)
        randomness.seed_step(3, 10)
        assert torch.equal(first, torch.rand(3))
        assert not torch.equal(first, other)
        randomness.seed_step(3, 10, rank=1)
        assert not torch.equal(first, torch.rand(3))


def test_deterministic_switch() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        randomness.make_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)
