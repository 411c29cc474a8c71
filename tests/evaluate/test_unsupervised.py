"""Criteria without labels, by hand, and what collapsed predictions get."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.stats import entropy
from torch import Tensor

from unshift.errors import DataError
from unshift.evaluate.unsupervised import PIXELS, mean_entropy, neighborhood_density


def drawn(classes: int = 3, size: int = 6, sharpness: float = 1.0, seed: int = 0) -> Tensor:
    noise = torch.randn(classes, size, size, generator=torch.Generator().manual_seed(seed))
    return (sharpness * noise).softmax(0)


def constant(*shares: float, size: int = 6) -> Tensor:
    return torch.tensor(shares).view(-1, 1, 1).expand(-1, size, size)


def test_entropy_by_hand() -> None:
    pixels = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    assert mean_entropy(pixels) == pytest.approx(0.5)
    assert mean_entropy(pixels, torch.tensor([[False, True]])) == pytest.approx(1.0)
    found = drawn(4)
    expected = entropy(found.flatten(1).numpy(), axis=0).mean() / math.log(4)
    assert mean_entropy(found) == pytest.approx(expected, rel=1e-5)


def test_density_of_three_pixels_by_hand() -> None:
    """Two alike and one of another class: each of the two has one neighbor, the third is torn between both."""
    pixels = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]])
    near, far = math.exp(1 / 0.05), math.exp(0)
    share = near / (near + far)
    alike = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert neighborhood_density(pixels, seed=0) == pytest.approx((2 * alike + math.log(2)) / 3)


def test_density_against_scipy() -> None:
    vectors = drawn().flatten(1).T.double().numpy()
    rows = []
    for i, one in enumerate(vectors):
        likeness = np.array([1 - cosine(one, other) for j, other in enumerate(vectors) if j != i])
        rows.append(entropy(np.exp(likeness / 0.05)))
    assert neighborhood_density(drawn(), seed=0) == pytest.approx(np.mean(rows), rel=1e-6)


@given(st.integers(0, 100), st.sampled_from([0.5, 2.0, 8.0]))
def test_both_stay_within_their_bounds(seed: int, sharpness: float) -> None:
    found = drawn(sharpness=sharpness, seed=seed)
    assert 0 <= mean_entropy(found) <= 1
    assert 0 <= neighborhood_density(found, seed=seed) <= math.log(35) + 1e-9


def test_the_seed_decides_which_pixels_are_compared() -> None:
    found = drawn(size=40)
    assert neighborhood_density(found, seed=1) == neighborhood_density(found, seed=1)
    assert neighborhood_density(found, seed=1) != neighborhood_density(found, seed=2)
    assert neighborhood_density(found, seed=1) <= math.log(PIXELS - 1) < math.log(40 * 40 - 1)


def test_what_lies_outside_the_field_of_view_does_not_count() -> None:
    inside = torch.zeros(6, 6, dtype=torch.bool)
    inside[:, :3] = True
    found, other = drawn(), drawn()
    other[:, :, 3:] = constant(1.0, 0.0, 0.0)[:, :, 3:]
    assert mean_entropy(found, inside) == mean_entropy(other, inside)
    assert neighborhood_density(found, inside, seed=0) == neighborhood_density(other, inside, seed=0)
    with pytest.raises(DataError, match="no pixel is in the field of view"):
        mean_entropy(found, ~inside & inside)
    inside[:] = False
    inside[0, 0] = True
    with pytest.raises(DataError, match="1 valid pixel"):
        neighborhood_density(found, inside, seed=0)


def test_both_prefer_a_network_that_has_collapsed() -> None:
    """Known: who is sure of background everywhere has no entropy, and all pixels for neighbors."""
    sensible, collapsed = drawn(sharpness=4.0), constant(1.0, 0.0, 0.0)
    assert mean_entropy(collapsed) == 0 < mean_entropy(sensible)
    assert neighborhood_density(collapsed, seed=0) == pytest.approx(math.log(35))
    assert neighborhood_density(sensible, seed=0) < math.log(35) - 0.5
    undecided = constant(1 / 3, 1 / 3, 1 / 3)  # a collapse that entropy sees and density does not
    assert mean_entropy(undecided) == pytest.approx(1) and mean_entropy(sensible) < 0.5
    assert neighborhood_density(undecided, seed=0) == pytest.approx(math.log(35))
