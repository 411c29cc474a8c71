"""The stream of cases: epochs, balance, shares of processes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.errors import ConfigError, ProtocolError
from unshift.sample import Case
from unshift.train.sampling import Sampler


def cases(**sizes: int) -> list[Case]:
    return [Case(f"{domain}{i}", f"{domain}{i}", domain) for domain, size in sizes.items() for i in range(size)]


def test_each_epoch_shows_each_case_once_in_another_order() -> None:
    sampler = Sampler(cases(a=5, b=7), "pooled", seed=0)
    epochs = [[sampler.at(12 * epoch + i).key for i in range(12)] for epoch in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 12 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [Sampler(cases(a=5, b=7), "pooled", seed=1).at(i).key for i in range(12)] != epochs[0]


@given(st.integers(0, 300), st.integers(1, 40))
def test_balanced_counts_differ_by_at_most_one(start: int, count: int) -> None:
    sampler = Sampler(cases(a=2, b=30, c=5), "balanced", seed=0)
    found = Counter(case.domain for _, case in sampler.share(start, count))
    numbers = [found[domain] for domain in "abc"]
    assert max(numbers) - min(numbers) <= 1
    assert sum(numbers) == count


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_every_balanced_pass_over_a_domain_is_whole(sizes: list[int]) -> None:
    names = "abcd"[: len(sizes)]
    sampler = Sampler(cases(**dict(zip(names, sizes, strict=True))), "balanced", seed=0)
    for place, (name, size) in enumerate(zip(names, sizes, strict=True)):
        stream = [sampler.at(place + len(sizes) * turn).name for turn in range(3 * size)]
        for start in range(0, 3 * size, size):
            assert sorted(stream[start : start + size]) == sorted(f"{name}{i}" for i in range(size))


def test_every_balanced_pass_over_a_domain_is_reshuffled() -> None:
    sizes = {"a": 8, "b": 30, "c": 8}
    sampler = Sampler(cases(**sizes), "balanced", seed=0)
    orders = []
    for place, size in enumerate(sizes.values()):
        stream = [int(sampler.at(place + 3 * turn).name[1:]) for turn in range(4 * size)]
        orders += [tuple(range(size)), *(tuple(stream[start : start + size]) for start in range(0, 4 * size, size))]
    assert len(set(orders)) == 2 + 3 * 4, "no pass repeats another, of any domain, or the list of cases"


def test_the_remainder_of_a_balanced_batch_rotates() -> None:
    sampler = Sampler(cases(a=4, b=4, c=4), "balanced", seed=0)
    extra = [Counter(case.domain for _, case in sampler.share(4 * step, 4)).most_common(1)[0][0] for step in range(3)]
    assert sorted(extra) == ["a", "b", "c"]


@pytest.mark.parametrize("sampling", ["pooled", "balanced"])
@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 4))
def test_processes_share_the_batch_of_one(sampling: str, step: int, world: int, each: int) -> None:
    sampler = Sampler(cases(a=3, b=8), sampling, seed=0)
    count = world * each
    parts = [sampler.share(step * count, count, rank=rank, world=world) for rank in range(world)]
    assert sorted(position for part in parts for position, _ in part) == list(range(step * count, (step + 1) * count))
    assert {len(part) for part in parts} == {each}


def test_every_process_meets_every_domain() -> None:
    sampler = Sampler(cases(a=3, b=8), "balanced", seed=0)
    for rank in range(2):
        assert {case.domain for _, case in sampler.share(0, 4, rank=rank, world=2)} == {"a", "b"}


def test_errors() -> None:
    with pytest.raises(ProtocolError, match="0 cases; at least one is required"):
        Sampler([], "pooled", seed=0)
    with pytest.raises(ConfigError, match="6 images on 4 processes.*multiple of 4"):
        Sampler(cases(a=3), "pooled", seed=0).share(0, 6, rank=0, world=4)
