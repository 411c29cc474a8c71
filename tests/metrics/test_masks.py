"""Masks are boolean, on one grid, and come as arrays or tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unshift.errors import DataError, ShapeMismatch
from unshift.metrics.masks import as_pair


def test_tensors_and_arrays_give_the_same_pair() -> None:
    array = np.eye(3, dtype=bool)
    first, second = as_pair(torch.from_numpy(array), array)
    assert isinstance(first, np.ndarray)
    np.testing.assert_array_equal(first, second)


def test_anything_but_bool_is_refused() -> None:
    mask = np.zeros((2, 2), dtype=bool)
    with pytest.raises(DataError, match="Mask of the reference: found uint8; bool is required"):
        as_pair(mask, mask.astype(np.uint8))


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeMismatch, match="prediction is 2×3 but reference is 3×2"):
        as_pair(np.zeros((2, 3), dtype=bool), np.zeros((3, 2), dtype=bool))
