from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import KeepLargestConnectedComponent
from scipy import ndimage

from unshift.predict.postprocess import fill_holes, keep_largest

CLASSES = ("background", "rim", "cup")


def picture(text: str) -> torch.Tensor:
    return torch.tensor([[int(c) for c in line] for line in text.split()])


def random_map(seed: int, labels: int, *space: int) -> torch.Tensor:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=space), 1.2)
    edges = np.quantile(smooth, np.linspace(0, 1, labels + 1)[1:-1])
    return torch.from_numpy(np.digitize(smooth, edges)).long()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), volume=st.booleans())
def test_largest_component_against_monai(seed: int, volume: bool) -> None:
    label_map = random_map(seed, 3, *((8, 12, 10) if volume else (24, 30)))
    found, _ = keep_largest(label_map, CLASSES)
    for label in (1, 2):
        sizes = np.bincount(ndimage.label(label_map.numpy() == label, np.ones((3,) * label_map.ndim))[0].ravel())[1:]
        if (sizes == sizes.max()).sum() == 1:
            monai = KeepLargestConnectedComponent(applied_labels=[label], independent=True)(label_map[None])[0]
            assert torch.equal(found == label, torch.as_tensor(monai) == label)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), volume=st.booleans())
def test_holes_of_one_class_against_scipy(seed: int, volume: bool) -> None:
    label_map = random_map(seed, 2, *((8, 12, 10) if volume else (24, 30)))
    found, notes = fill_holes(label_map, CLASSES[:2])
    np.testing.assert_array_equal(found.numpy(), ndimage.binary_fill_holes(label_map.numpy()).astype(np.int64))
    assert bool(notes) == (not torch.equal(found, label_map))


@pytest.mark.parametrize("repair", [keep_largest, fill_holes])
@pytest.mark.parametrize("space", [(1, 1), (6, 7), (3, 4, 5)])
def test_an_empty_prediction_stays_empty(repair, space: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    found, notes = repair(torch.zeros(space, dtype=torch.int64), CLASSES)
    assert not found.any() and notes == ()


@pytest.mark.parametrize("repair", [keep_largest, fill_holes])
def test_repairs_leave_their_input_and_are_idempotent(repair) -> None:  # type: ignore[no-untyped-def]
    label_map = random_map(3, 3, 30, 30)
    before = label_map.clone()
    once, notes = repair(label_map, CLASSES)
    assert torch.equal(label_map, before) and notes
    again, none = repair(once, CLASSES)
    assert torch.equal(again, once) and none == ()


def test_each_class_keeps_its_own_and_diagonals_touch() -> None:
    label_map = picture("10020 01022 00000 00001")
    found, notes = keep_largest(label_map, CLASSES)
    assert torch.equal(found, picture("10020 01022 00000 00000"))
    assert notes == ("largest_component: removed 1 voxels of 'rim' in 1 component(s)",)


def test_a_cup_in_a_rim_is_no_hole_but_background_in_the_cup_is() -> None:
    label_map = picture("0000000 0111110 0122210 0120210 0122210 0111110 0000000")
    found, notes = fill_holes(label_map, CLASSES)
    assert torch.equal(found, picture("0000000 0111110 0122210 0122210 0122210 0111110 0000000"))
    assert notes == ("fill_holes: added 1 voxels to 'cup'",)


def test_a_gap_between_two_classes_and_a_bay_at_the_border_stay() -> None:
    gap = picture("00000 01120 01020 01120 00000")
    bay = picture("01010 01110 00000")
    for label_map in (gap, bay):
        found, notes = fill_holes(label_map, CLASSES)
        assert torch.equal(found, label_map) and notes == ()
