"""Means and deviations moved, redone with scikit-image and NumPy; the fast way against the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from colored_pictures import masks, pictures
from unshift.normalizations.color_methods import color_method
from unshift.normalizations.color_moments import Lab, Reinhard

LEVEL = 1 / 255


def test_lab_is_what_scikit_image_gives() -> None:
    image, other = pictures(1)[0], pictures(1, seed=1, tint=(0.7, 0.75, 0.6))[0]
    source, target = (rgb2lab(x.numpy(), channel_axis=0) for x in (image, other))
    axes = (1, 2)
    moved = (source - source.mean(axes, keepdims=True)) / source.std(axes, keepdims=True)
    moved = moved * target.std(axes, keepdims=True) + target.mean(axes, keepdims=True)
    expected = np.clip(lab2rgb(moved, channel_axis=0), 0, 1)
    found = Lab().transfer(image[None], Lab().statistics(other[None]))[0].numpy()
    assert np.abs(found - expected).max() < 1e-3


def test_reinhard_by_hand() -> None:
    matrix = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
    opponent = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
    image, other = (pictures(1, seed=s)[0].flatten(1).numpy() for s in (0, 1))
    source, target = (opponent @ np.log10(matrix @ x + 1 / 255) for x in (image, other))  # the base makes no difference
    moved = (source - source.mean(1, keepdims=True)) * (target.std(1) / source.std(1))[:, None]
    moved = moved + target.mean(1, keepdims=True)
    expected = np.linalg.inv(matrix) @ (10 ** (np.linalg.inv(opponent) @ moved) - 1 / 255)
    reference = Reinhard().statistics(torch.from_numpy(other).view(1, 3, 24, 32))
    found = Reinhard().unclipped(torch.from_numpy(image).view(1, 3, 24, 32), reference)
    np.testing.assert_allclose(found[0].flatten(1).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_the_fast_way_is_the_plain_one_to_a_tenth_of_a_grey_level(masked: bool) -> None:
    method, inside = color_method("lab"), masks(3, size=(60, 80)) if masked else None
    for seed in range(6):
        images = pictures(3, seed=seed, size=(60, 80), dtype=torch.float32)
        tint = (0.3 + 0.1 * seed, 0.7, 0.8 - 0.1 * seed)
        reference = method.statistics(pictures(3, seed=seed + 10, size=(60, 80), tint=tint, dtype=torch.float32))
        fast = method.transfer(images, reference, inside)
        plain = method.transfer(images.requires_grad_(), reference, inside)
        assert plain.requires_grad and not fast.requires_grad
        assert (fast - plain.detach()).abs().max() < LEVEL / 10


def test_a_constant_image_gets_the_mean_of_the_reference() -> None:
    reference = Lab().statistics(pictures(1))
    moved = Lab().unclipped(
        torch.full((1, 3, 6, 6), 0.4, dtype=torch.float64) * torch.tensor([1, 0.9, 0.8]).view(1, 3, 1, 1), reference
    )
    torch.testing.assert_close(Lab().statistics(moved)[:, 3:6], reference[:, 3:6])
