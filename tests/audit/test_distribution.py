"""Histograms count what they say they count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.audit.distribution import BINS, distribution, limits_of, spread, valid_values
from unshift.sample import Sample


def sample(image: torch.Tensor, field: torch.Tensor | None = None) -> Sample:
    return Sample(image=image, case="c", patient="p", domain="A", field_of_view=field)


@given(st.integers(0, 60), st.integers(1, 20))
def test_a_spread_is_even_and_holds_the_ends(length: int, count: int) -> None:
    items = list(range(length))
    chosen = spread(items, count)
    assert len(chosen) == min(length, count) and chosen == sorted(set(chosen))
    if length > 1 and count > 1:
        assert (chosen[0], chosen[-1]) == (0, length - 1)
        steps = np.diff(chosen)
        assert steps.max() - steps.min() <= 1


def test_each_image_counts_the_same_whatever_its_size() -> None:
    small, large = torch.full((1, 2, 2), 0.1), torch.full((1, 50, 50), 0.9)
    shown = distribution([sample(small), sample(large)], (0.0, 1.0), 1)
    assert (shown.images, shown.shares.shape, shown.edges.shape) == (2, (1, BINS), (BINS + 1,))
    assert shown.shares[0, [int(0.1 * BINS), int(0.9 * BINS)]].tolist() == [0.5, 0.5]


def test_only_the_field_of_view_counts() -> None:
    image = torch.tensor([[[0.0, 0.5], [0.0, 0.5]]])
    field = torch.tensor([[False, True], [False, True]])
    assert valid_values(sample(image, field)).tolist() == [[0.5, 0.5]]
    assert valid_values(sample(image, torch.zeros(2, 2, dtype=torch.bool))).size == 4


def test_values_beyond_the_limits_are_in_no_bin_but_count() -> None:
    shown = distribution([sample(torch.tensor([[[0.25, 5.0, -3.0, 0.25]]]))], (0.0, 1.0), 1)
    assert shown.shares.sum() == 0.5


def test_no_image_gives_an_empty_histogram() -> None:
    shown = distribution([], (0.0, 1.0), 3)
    assert (shown.images, shown.shares.sum()) == (0, 0)


def test_limits() -> None:
    ramp = torch.linspace(0, 1, 1000).view(1, 10, 100)
    assert limits_of([[sample(ramp)], []]) == [(0.0, 1.0), (0.0, 1.0)]
    low, high = np.percentile(ramp.numpy() * 100, 0.5), np.percentile(ramp.numpy() * 200, 99.5)
    shared = limits_of([[sample(ramp * 100)], [sample(ramp * 200)]])
    assert shared == [pytest.approx((low, high))] * 2
    apart = limits_of([[sample(ramp * 100)], [sample(ramp * 1000)]])
    assert apart[0][1] < 101 < 900 < apart[1][1]
    assert limits_of([[sample(torch.full((1, 4, 4), 7.0))]]) == [(6.5, 7.5)]
