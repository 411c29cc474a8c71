"""Least squares by hand."""

from __future__ import annotations

import pytest
import torch

from unshift.losses.adversarial import squared


def test_by_hand() -> None:
    judged, gap = torch.tensor([[0.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    share = (1 + gap) / (1 + gap).mean()  # of mean 1
    assert float(squared(judged, 1.0, share)) == pytest.approx((4 / 3 * 1 + 2 / 3 * 0.25) / 2)
    assert float(squared(judged, 1.0)) == pytest.approx((1 + 0.25) / 2)
    assert float(squared(judged, 0.25)) == pytest.approx(0.0625)


def test_half_precision_is_judged_in_single() -> None:
    judged = torch.full((3,), 300.0, dtype=torch.float16)  # its square is beyond float16
    assert float(squared(judged, 0.0)) == 90000.0
