from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unshift.augmentations.blurring import blurred


@pytest.mark.parametrize("shape", [(3, 2, 20, 14), (3, 1, 4, 12, 15)], ids=["pictures", "volumes"])
@pytest.mark.parametrize("radius", [2, 6])
def test_each_image_by_scipy(shape: tuple[int, ...], radius: int) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    deviations = torch.tensor([0.4, 1.0, 3.0])
    found = blurred(images, deviations, radius=radius).double().numpy()
    for result, image, deviation in zip(found, images.double().numpy(), deviations.tolist(), strict=True):
        sigma = (*[0] * (image.ndim - 2), deviation, deviation)
        radii = (*[0] * (image.ndim - 2), radius, radius)
        expected = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=radii)
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_deviation_of_zero_leaves_the_image() -> None:
    images = torch.rand(2, 1, 9, 8)
    assert torch.equal(blurred(images, torch.zeros(2), radius=3), images)
