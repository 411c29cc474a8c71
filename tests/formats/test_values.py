from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unshift.errors import DataError
from unshift.formats.values import MOST_PIXELS, image_tensor, label_tensor, require_size, smallest_integers

PATH = Path("x.nii")


def test_images_are_float32_copies() -> None:
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    result = image_tensor(array, PATH)
    result += 1
    assert array[0, 0, 0] == 0 and result.dtype == torch.float32
    assert image_tensor(array[:, :, ::-1], PATH).is_contiguous()


def test_bad_values_are_counted() -> None:
    array = np.array([[[1.0, np.nan, np.inf, -np.inf, 1e300]]])
    with pytest.raises(DataError, match=r"x.nii: 1 NaN and 3 infinite value\(s\) among 5; every value must be finite"):
        image_tensor(array, PATH)
    with pytest.raises(DataError, match="1 NaN and 2 infinite"):
        label_tensor(array[0], PATH)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_labels_keep_their_numbers(kind: type) -> None:
    array = np.array([[0, 1], [1, 0]] if kind is bool else [[0, 100], [3, 7]], dtype=kind)
    result = label_tensor(array, PATH)
    assert result.dtype == torch.int64 and result.tolist() == array.astype(int).tolist()


def test_float_labels_are_rounded_within_a_thousandth() -> None:
    assert label_tensor(np.array([1.0009, 1.9995, -0.0002]), PATH).tolist() == [1, 2, 0]
    with pytest.raises(DataError, match=r"2 label\(s\) are not whole numbers, for example 0.5; .* order 0"):
        label_tensor(np.array([0.5, 1.0, 1.01]), PATH)


def test_numbers_that_are_no_labels() -> None:
    with pytest.raises(DataError, match="beyond ±2\\^53"):
        label_tensor(np.array([2**63 + 5], dtype=np.uint64), PATH)
    with pytest.raises(DataError, match="complex128; integers are required"):
        label_tensor(np.array([1j]), PATH)
    with pytest.raises(DataError, match="size is 0×3; at least one pixel"):
        label_tensor(np.zeros((0, 3)), PATH)


@pytest.mark.parametrize(("top", "kind"), [(255, np.uint8), (256, np.int16), (40000, np.int32)])
def test_smallest_integers(top: int, kind: type) -> None:
    array = smallest_integers(torch.tensor([0, top]), PATH, (np.uint8, np.int16, np.int32))
    assert array.dtype == kind and array.tolist() == [0, top]


def test_labels_that_fit_nowhere() -> None:
    with pytest.raises(DataError, match="labels are -1 … 3; this kind of file holds uint8, uint16"):
        smallest_integers(torch.tensor([-1, 3]), PATH, (np.uint8, np.uint16))


def test_size_limit() -> None:
    require_size(MOST_PIXELS, PATH)
    with pytest.raises(DataError, match="announces 1000 megapixels; at most 179 are read"):
        require_size(10**9, PATH)
