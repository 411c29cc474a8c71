from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.augmentations.bezier import ENTRIES, look_up, tables

GRID = np.linspace(0, 1, ENTRIES)
COORDINATE = st.floats(0, 1)


def table(first: tuple[float, float], second: tuple[float, float], *, falling: bool = False) -> np.ndarray:
    return tables(torch.tensor([first]), torch.tensor([second]), torch.tensor([falling]))[0].double().numpy()


def by_numpy(first: tuple[float, float], second: tuple[float, float], *, falling: bool) -> np.ndarray:
    """De Casteljau's construction instead of polynomials, a hundred times as dense, and NumPy's interpolation."""
    t = np.linspace(0, 1, 100 * ENTRIES)[:, None]
    points = [
        np.broadcast_to(np.array(p, dtype=np.float32).astype(float), (len(t), 2))
        for p in ((0, 0), first, second, (1, 1))
    ]
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in itertools.pairwise(points)]
    x, y = np.sort(points[0], axis=0).T
    return np.interp(GRID, x, y[::-1] if falling else y)


@settings(max_examples=25, deadline=None)
@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.booleans())
def test_a_table_is_the_curve_of_de_casteljau(a: float, b: float, c: float, d: float, falling: bool) -> None:
    found, expected = table((a, b), (c, d), falling=falling), by_numpy((a, b), (c, d), falling=falling)
    assert (np.sign(np.diff(found)) * (-1 if falling else 1) >= 0).all()
    assert found[0] == (1 if falling else 0) and found[-1] == (0 if falling else 1)
    steep = np.abs(np.gradient(expected)).max()
    np.testing.assert_allclose(found, expected, atol=1e-3 + steep)


def test_control_points_on_the_diagonal_change_nothing() -> None:
    np.testing.assert_allclose(table((0.0, 0.0), (1.0, 1.0)), GRID, atol=1e-6)
    np.testing.assert_allclose(table((0.0, 0.0), (1.0, 1.0), falling=True), 1 - GRID, atol=1e-6)


def test_each_value_goes_through_the_table_of_its_row() -> None:
    both = tables(
        torch.tensor([[0.2, 0.9], [0.0, 0.0]]), torch.tensor([[0.7, 0.8], [1.0, 1.0]]), torch.tensor([False, True])
    )
    values = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    rows = (torch.arange(35) % 2).view(5, 7)
    found = look_up(values, both, rows).numpy()
    for row in (0, 1):
        expected = np.interp(values.numpy(), GRID, both[row].numpy())
        np.testing.assert_allclose(found[rows == row], expected[rows == row], atol=1e-6)
    ends = look_up(torch.tensor([-1.0, 0.0, 1.0, 2.0]), both, torch.zeros(4, dtype=torch.int64))
    assert ends.tolist() == [0, 0, 1, 1]
