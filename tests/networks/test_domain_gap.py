"""The forms of the gap by hand."""

from __future__ import annotations

import math

import pytest
import torch

from unshift.networks.domain_gap import gap_of


def test_gaps_by_hand() -> None:
    judged = torch.tensor([-0.5, 0.0, 0.4, 0.5, 1.0, 3.0]).view(1, 1, 2, 3)
    literal = [abs(math.tanh(v)) for v in (-0.5, 0.0, 0.4, 0.5, 1.0, 3.0)]
    torch.testing.assert_close(gap_of(judged, "literal").flatten(), torch.tensor(literal))
    torch.testing.assert_close(gap_of(judged, "symmetric").flatten(), torch.tensor([1.0, 1.0, 0.2, 0.0, 1.0, 1.0]))
    assert not gap_of(judged, "none").any()
    assert literal[4] == pytest.approx(0.76, abs=0.01) and literal[3] == pytest.approx(0.46, abs=0.01)
