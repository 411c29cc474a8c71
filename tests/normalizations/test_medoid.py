"""The medoid against SciPy's full matrix, its property, permutations, ties, and vectors that nearly agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from unshift.errors import DataError
from unshift.normalizations import medoid as module
from unshift.normalizations.medoid import mean_distances, medoid


def histograms(count: int, seed: int, *, bins: int = 64, spread: float = 1.0) -> torch.Tensor:
    """Mixtures of a few palettes, of length 1, most boxes empty."""
    generator = np.random.default_rng(seed)
    palettes = generator.dirichlet(np.full(bins, 0.1), 4)
    shares = np.stack([generator.multinomial(500, palettes[i % 4]) for i in range(count)]) * spread
    return torch.from_numpy(shares / np.linalg.norm(shares, axis=1, keepdims=True)).float()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_it_is_the_least_row_of_scipys_full_matrix(count: int, seed: int) -> None:
    vectors = histograms(count, seed)
    means = cdist(vectors.double(), vectors.double()).mean(1)
    found = medoid(vectors)
    assert means[found] <= means.min() * (1 + 1e-12)


def test_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    vectors = histograms(1000, 0)
    means = cdist(vectors.double(), vectors.double()).mean(1)
    said: list[tuple[int, int]] = []
    assert medoid(vectors, progress=lambda done, total: said.append((done, total))) == int(means.argmin())
    assert said[-1] == (16, 16)
    np.testing.assert_allclose(mean_distances(vectors, [3, 999]), means[[3, 999]], rtol=1e-12)


def test_where_float32_cannot_tell_float64_differences_decide() -> None:
    """All vectors lie within 1e-6 of each other: float32 products are off by a thousand times more than they differ."""
    generator = torch.Generator().manual_seed(0)
    vectors = (torch.randn(1, 64, generator=generator) + 1e-6 * torch.randn(300, 64, generator=generator)).float()
    means = cdist(vectors.double(), vectors.double()).mean(1)
    assert medoid(vectors) == int(means.argmin())


@settings(max_examples=20, deadline=None)
@given(same=st.integers(11, 30), others=st.integers(0, 10), seed=st.integers(0, 10**6))
def test_the_repeated_one_wins_when_more_than_half_are_equal(same: int, others: int, seed: int) -> None:
    vectors = torch.cat([histograms(1, seed).expand(same, -1), histograms(others + 1, seed + 1)[:others]])
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(vectors[order][medoid(vectors[order])], vectors[0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_permutation_changes_nothing_and_names_break_ties(seed: int) -> None:
    vectors = histograms(12, seed).repeat(3, 1)  # every vector three times: always a tie
    names = [f"case {i:02}" for i in range(36)]
    first = names[medoid(vectors, order=names)]
    order = torch.randperm(36, generator=torch.Generator().manual_seed(seed)).tolist()
    shuffled = [names[i] for i in order]
    assert shuffled[medoid(vectors[order], order=shuffled)] == first
    assert int(first[-2:]) < 12


def test_those_that_are_not_allowed_count_but_are_not_chosen() -> None:
    vectors = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    assert medoid(vectors) == 1
    assert medoid(vectors, allowed=torch.tensor([True, False, True, True])) == 2  # 52/4 from 2, 53/4 from 0


def test_no_vector_and_no_number() -> None:
    with pytest.raises(DataError, match="one or more"):
        medoid(torch.zeros(0, 3))
    with pytest.raises(DataError, match="one or more"):
        medoid(torch.zeros(2, 3), allowed=torch.zeros(2, dtype=torch.bool))
    with pytest.raises(DataError, match="not finite"):
        medoid(torch.tensor([[1.0], [torch.nan]]))
