"""Color histograms against NumPy on whole grey levels, deep images, grey ones, fields of view."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unshift.errors import DataError
from unshift.normalizations.histograms import BINS, color_histograms, normalized


def levels(seed: int, shape: tuple[int, ...] = (3, 20, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape)


def test_every_whole_level_falls_into_the_box_that_numpy_says() -> None:
    images = np.stack([levels(seed) for seed in range(3)])
    found = color_histograms(torch.from_numpy(images / 255).float())
    for image, histogram in zip(images, found, strict=True):
        expected, _ = np.histogramdd(image.reshape(3, -1).T, bins=8, range=[(0, 256)] * 3)
        np.testing.assert_array_equal((histogram * 600).round().numpy(), expected.ravel())
    ramp = torch.arange(256).float().view(1, 1, 16, 16) / 255
    assert color_histograms(ramp)[0].nonzero().flatten().tolist() == [73 * level for level in range(8)]


def test_sixteen_bits_are_not_rounded_to_eight() -> None:
    just_below, at = 32 / 255 - 100 / 65535, 32 / 255
    pair = torch.tensor([just_below, at]).view(1, 1, 1, 2)
    assert color_histograms(pair)[0, [0, 73]].tolist() == [0.5, 0.5]


def test_grey_is_three_equal_channels_and_only_the_inside_counts() -> None:
    grey = torch.from_numpy(levels(0, (1, 1, 9, 9)) / 255).float()
    assert torch.equal(color_histograms(grey), color_histograms(grey.expand(-1, 3, -1, -1)))
    inside = torch.zeros(1, 9, 9, dtype=torch.bool)
    inside[:, 2:5, 3:7] = True
    assert torch.equal(color_histograms(grey, inside), color_histograms(grey[..., 2:5, 3:7]))
    with pytest.raises(DataError, match="empty"):
        color_histograms(grey, torch.zeros_like(inside))


def test_norms() -> None:
    shares = color_histograms(torch.rand(4, 3, 16, 16))
    assert shares.shape == (4, BINS)
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    torch.testing.assert_close(normalized(shares, "l2").square().sum(1), torch.ones(4))
    assert normalized(shares, "l1") is shares
