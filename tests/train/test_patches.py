"""What is cut from a sample: sizes, alignment of image and label map, share of foreground."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.errors import ConfigError
from unshift.geometry import InputConfig
from unshift.sample import Sample
from unshift.train.patches import cut, prepare_piece, slices


def sample(*space: int, labels: torch.Tensor | None = None) -> Sample:
    """The image holds each voxel's own running number, so that a cut can be traced back."""
    image = torch.arange(float(np.prod(space))).view(1, *space)
    return Sample(image, case="x", patient="x", domain="d", label_map=labels)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_window_has_its_size_and_keeps_alignment(height: int, width: int, size: int, share: float, seed: int) -> None:
    whole = sample(height, width)
    labels = (whole.image[0] % 7 == 0).long() * 3
    config = InputConfig(mode="window", size=(size, size))
    piece = cut(prepare_piece(whole.replace(label_map=labels), config), config, foreground=share, generator=rng(seed))
    assert piece.image.shape == (1, size, size)
    assert piece.label_map is not None
    assert piece.label_map.dtype == torch.int64
    inside = torch.ones(size, size, dtype=torch.bool) if piece.field_of_view is None else piece.field_of_view
    assert torch.equal(piece.label_map[inside], (piece.image[0][inside] % 7 == 0).long() * 3)
    assert int(inside.sum()) == min(height, size) * min(width, size)
    assert not piece.label_map[~inside].any()


def test_foreground_windows_hold_foreground_and_reach_every_voxel() -> None:
    labels = torch.zeros(9, 9, 9, dtype=torch.int64)
    labels[0, 0, 0] = labels[4, 4, 4] = labels[4, 4, 8] = 1
    config = InputConfig(mode="window", size=(3, 3, 3))
    piece = prepare_piece(sample(9, 9, 9, labels=labels), config)
    generator = rng()
    windows = [cut(piece, config, foreground=1.0, generator=generator) for _ in range(200)]
    assert all(int(window.label_map.sum()) == 1 for window in windows)  # type: ignore[union-attr]
    found = [int(window.image[0][window.label_map.bool()]) for window in windows]  # type: ignore[union-attr]
    counts = np.unique(found, return_counts=True)
    assert counts[0].tolist() == [0, 4 * 81 + 4 * 9 + 4, 4 * 81 + 4 * 9 + 8]
    assert counts[1].min() > 40  # each of three equally likely: 66.7 expected, 40 is four deviations below


def test_all_slices_of_a_volume_in_their_order() -> None:
    config = InputConfig(size=(4, 6), neighbours=1)
    found = slices(prepare_piece(sample(5, 4, 6), config), config, generator=rng())
    assert [int(part.image[1, 0, 0]) for part in found] == [0, 24, 48, 72, 96]  # the middle one of three
    assert all(part.image.shape == (3, 4, 6) for part in found)
    [picture] = slices(prepare_piece(sample(9, 9), config), InputConfig(size=(4, 6)), generator=rng())
    assert picture.image.shape == (1, 4, 6)


def test_share_of_foreground_slices() -> None:
    labels = torch.zeros(40, 4, 4, dtype=torch.int64)
    labels[7, 1, 1] = 1
    config = InputConfig(size=(4, 4))
    piece = prepare_piece(sample(40, 4, 4, labels=labels), config)
    generator = rng()
    hits = sum(bool(cut(piece, config, foreground=0.5, generator=generator).label_map.any()) for _ in range(400))  # type: ignore[union-attr]
    assert 160 < hits < 250  # 0.5 + 0.5 / 40 of 400: 205 expected, deviation 10


def test_neighbour_stack_of_a_volume() -> None:
    config = InputConfig(size=(4, 4), neighbours=1)
    piece = cut(prepare_piece(sample(5, 4, 4), config), config, foreground=0.5, generator=rng())
    assert piece.image.shape == (3, 4, 4)
    first = piece.image[:, 0, 0] / 16
    assert all(float(step) in (0.0, 1.0) for step in first.diff())


def test_resized_once_and_equal_when_cut_again() -> None:
    config = InputConfig(size=(8, 6))
    labels = torch.randint(0, 300, (20, 20))
    piece = prepare_piece(
        sample(20, 20, labels=labels).replace(field_of_view=torch.ones(20, 20, dtype=torch.bool)), config
    )
    assert piece.image.shape == (1, 8, 6)
    assert piece.label_map is not None and piece.label_map.dtype == torch.int64  # labels above 255 stay as they are
    again = cut(piece, config, foreground=0.5, generator=rng())
    assert torch.equal(again.image, piece.image)
    assert torch.equal(again.label_map, piece.label_map)  # type: ignore[arg-type]
    assert again.field_of_view is not None and again.field_of_view.all()


def test_labels_are_kept_small_in_memory() -> None:
    piece = prepare_piece(sample(10, 10, labels=torch.ones(10, 10, dtype=torch.int64)), InputConfig(size=(10, 10)))
    assert piece.bytes == 10 * 10 * (4 + 1)


def test_a_picture_has_no_depth() -> None:
    with pytest.raises(ConfigError, match="'x': the image has 2 spatial axes but input.size is \\(4, 4, 4\\)"):
        prepare_piece(sample(9, 9), InputConfig(size=(4, 4, 4)))
