"""Sizes, slices and neighbour stacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize as skimage_resize

from unshift import config, geometry
from unshift.errors import ConfigError
from unshift.geometry import InputConfig


def test_stack_repeats_the_edge() -> None:
    volume = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert geometry.stack(volume, 0, 1)[:, 0, 0].tolist() == [0, 0, 1]
    assert geometry.stack(volume, 3, 2)[:, 0, 0].tolist() == [1, 2, 3, 3, 3]
    assert geometry.stack(volume, 2, 0)[:, 0, 0].tolist() == [2]


def test_stack_keeps_channels_together() -> None:
    volume = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
    assert geometry.stack(volume, 1, 1)[:, 0, 0].tolist() == [0, 1] * 3
    assert geometry.network_channels(2, InputConfig(neighbours=1, size=(8, 8))) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_slices_and_channels_are_inverse(channels: int) -> None:
    volume = torch.rand(channels, 5, 4, 6)
    stacked = torch.stack([geometry.stack(volume, index, 1) for index in (1, 3)])
    slices = geometry.as_slices(stacked, channels)
    assert torch.equal(slices[0], volume[:, 0:3]) and torch.equal(slices[1], volume[:, 2:5])
    assert torch.equal(geometry.as_channels(slices), stacked)


def test_what_has_no_neighbors_stays_as_it_is() -> None:
    picture, volume = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 3, 4, 5)
    assert geometry.as_slices(picture, 3) is picture and geometry.as_slices(volume, 1) is volume


def test_enlarging_agrees_with_skimage() -> None:
    image = np.random.default_rng(0).random((7, 9), dtype=np.float32)
    ours = geometry.resize_image(torch.from_numpy(image)[None], (14, 18))[0].numpy()
    theirs = skimage_resize(image, (14, 18), order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_no_label_is_invented_and_constants_stay(h: int, w: int, rows: int, columns: int) -> None:
    labels = torch.randint(0, 5, (h, w), generator=torch.Generator().manual_seed(h * 10 + w))
    resized = geometry.resize_label_map(labels, (rows, columns))
    assert resized.shape == (rows, columns) and resized.dtype == torch.int64
    assert set(resized.unique().tolist()) <= set(labels.unique().tolist())
    constant = geometry.resize_image(torch.full((2, h, w), 0.25), (rows, columns))
    assert torch.allclose(constant, torch.tensor(0.25))


def test_own_size_is_the_same_tensor() -> None:
    image, labels = torch.rand(1, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
    assert geometry.resize_image(image, (4, 5)) is image
    assert geometry.resize_label_map(labels, (4, 5)) is labels


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"size": [0, 4]}, "at least 1"),
        ({"neighbours": -1}, "0 or more"),
        ({"size": [4, 4, 4], "neighbours": 1}, "a 3-D size needs neighbours: 0"),
        ({"mode": "crop"}, "'resize' or 'window'"),
    ],
)
def test_impossible_inputs(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.parse(InputConfig, data, where="input")
