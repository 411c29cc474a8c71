"""Exact cosine search against NumPy in float64; ties; what is usual among rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.errors import ShapeMismatch
from unshift.normalizations.nearest import _HALF_ERROR, half_of, nearest, usual_likeness


def units(count: int, seed: int, size: int = 24) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=1)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 80),
    queries=st.integers(1, 5),
    top=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    is_half=st.booleans(),
)
def test_it_agrees_with_a_full_sort_in_float64(count: int, queries: int, top: int, seed: int, is_half: bool) -> None:
    rows, asked = units(count, seed), units(queries, seed + 1)
    cosines, indices = nearest(asked, rows, count=top, half=rows.half() if is_half else None)
    exact = asked.double().numpy() @ rows.double().numpy().T
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(cosines, np.take_along_axis(exact, expected, 1), atol=1e-14)


def test_a_row_finds_itself_and_the_first_of_equal_ones() -> None:
    rows = units(50, 0)
    rows[30] = rows[7]
    _, indices = nearest(rows, rows)
    assert indices[:, 0].tolist() == [7 if i == 30 else i for i in range(50)]
    assert nearest(rows[30:31], rows, count=2)[1].tolist() == [[7, 30]]
    assert nearest(units(70, 1), rows)[1].tolist() == [nearest(q[None], rows)[1][0].tolist() for q in units(70, 1)]


def test_where_float32_cannot_tell() -> None:
    rows = units(1, 0, 512) + 3e-8 * torch.randn(200, 512, generator=torch.Generator().manual_seed(1))
    query = units(1, 2, 512)
    best = int((rows.double() @ query[0].double()).argmax())
    assert nearest(query, rows)[1].item() == nearest(query, rows, half=rows.half())[1].item() == best


def test_the_error_of_half_precision_is_within_its_bound() -> None:
    """On this machine's kernels: what the candidates of a query are chosen by."""
    rows, query = units(3000, 0, 1024), units(1, 1, 1024)
    rows[::3] = torch.nn.functional.normalize(rows[::3] + 2 * query, dim=1)  # cosines up to 0.9
    found = torch.nn.functional.linear(query.half(), rows.half())[0].double()
    assert (found - rows.double() @ query[0].double()).abs().max() < _HALF_ERROR
    assert half_of(rows[:10]) is None and half_of(torch.zeros(2**14, 1024)).dtype == torch.float16  # type: ignore[union-attr]


def test_what_is_usual_is_the_first_percentile_of_the_nearest_of_another_patient() -> None:
    rows, patients = units(300, 0), [f"p{i // 3}" for i in range(300)]
    cosines = rows.double().numpy() @ rows.double().numpy().T
    for i in range(300):
        cosines[i, i // 3 * 3 : i // 3 * 3 + 3] = -1
    assert usual_likeness(rows, patients) == pytest.approx(np.quantile(cosines.max(1), 0.01), abs=1e-6)
    assert usual_likeness(rows, ["p"] * 300) == -1


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeMismatch, match="one row or more"):
        nearest(units(1, 0), units(0, 0))
    with pytest.raises(ShapeMismatch, match="queries' length"):
        nearest(units(1, 0, 8), units(3, 0, 9))
