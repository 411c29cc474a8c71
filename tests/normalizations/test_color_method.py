"""The parts that all methods share, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colored_pictures import masks, pictures
from unshift.normalizations.color_method import average, is_grey, mean_inside, moments, scale_and_shift, stretch


def test_moments_are_numpys_inside() -> None:
    images, inside = pictures(2), masks(2)
    for mask, chosen in ((None, torch.ones_like(inside)), (inside, inside)):
        found = moments(images, mask)
        for image, rows, keep in zip(images.numpy(), found.numpy(), chosen.numpy(), strict=True):
            np.testing.assert_allclose(rows, [*(c[keep].mean() for c in image), *(c[keep].std() for c in image)])


def test_moments_of_large_float32_images_keep_small_deviations() -> None:
    generator = torch.Generator().manual_seed(0)
    exact = 80 + 0.05 * torch.randn(1, 1, 700, 900, generator=generator, dtype=torch.float64)
    found = moments(exact.float(), None)[0]
    assert abs(found[0] - exact.mean()) < 1e-4 and abs(found[1] / exact.std() - 1) < 1e-2


def test_mean_inside() -> None:
    values = torch.tensor([[[[1.0, 2], [30, 4]]]])
    assert mean_inside(values, torch.tensor([[[True, True], [False, True]]])).item() == pytest.approx(7 / 3)
    assert mean_inside(values, None).tolist() == [[37 / 4]]


def test_stretch_by_hand() -> None:
    values = torch.tensor([1.0, 3]).view(1, 1, 1, 2)
    own, wanted = torch.tensor([[2.0, 1]]), torch.tensor([[10.0, 4]])
    assert stretch(values, wanted, own, 0.01).flatten().tolist() == [6, 14]
    gain, shift = scale_and_shift(wanted, torch.tensor([[2.0, 0]]), 0.5)
    assert (gain.item(), shift.item()) == (8, -6)
    assert scale_and_shift(own, own.clone(), 5.0)[0].item() == 1


def test_which_images_are_grey() -> None:
    color, grey = pictures(1), pictures(1, seed=1)[:, :1].expand(-1, 3, -1, -1)
    almost = grey.clone()
    almost[0, 0, -1, -1] += 0.01  # a pixel that a coarse look misses
    assert is_grey(torch.cat([color, grey, almost])).tolist() == [False, True, False]
    inside = torch.ones(1, 24, 32, dtype=torch.bool)
    inside[0, -1, -1] = False
    assert is_grey(almost, inside).all() and is_grey(color[:, :1]).all()
    assert is_grey(grey + torch.tensor([0, 1e-5, -1e-5]).view(1, 3, 1, 1)).all()


def test_the_average_of_color_and_grey_images() -> None:
    rows = torch.tensor([[1.0, 40, 10, 0, 0], [0.0, 50, 20, 4, 6], [0.0, 60, 30, 8, 8]])
    assert average(rows).tolist() == [0, 50, 20, 6, 7]
    assert average(rows[:1]).tolist() == rows[0].tolist()
