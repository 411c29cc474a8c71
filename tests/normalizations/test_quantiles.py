"""Quantiles against NumPy and by hand."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.normalizations.quantiles import middles, quantiles


def test_by_hand() -> None:
    values = torch.tensor([30.0, 10, 20, 40])
    assert quantiles(values, torch.tensor([0, 0.2, 0.25, 0.74, 1], dtype=torch.float64)).tolist() == [
        10,
        10,
        20,
        30,
        40,
    ]
    assert quantiles(torch.tensor([5.0]), middles(3)).tolist() == [5, 5, 5]
    assert middles(4).tolist() == [0.125, 0.375, 0.625, 0.875]


@given(
    values=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=50),
    shares=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9),
)
def test_it_is_numpys_inverted_distribution_function(values: list[float], shares: list[float]) -> None:
    positions = np.array(shares) * len(values)
    shares = [share for share, p in zip(shares, positions, strict=True) if abs(p - round(p)) > 1e-6]
    found = quantiles(torch.tensor(values), torch.tensor(shares, dtype=torch.float64))
    expected = np.quantile(np.array(values, dtype=np.float32), shares, method="inverted_cdf")
    np.testing.assert_array_equal(found.numpy(), expected)
