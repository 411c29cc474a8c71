"""Lightness against scikit-image, and what stays when it changes."""

from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab

from unshift.errors import DataError
from unshift.normalizations.lightness import lightness, relight
from unshift.sample import Sample


def sample(image: torch.Tensor, fov: torch.Tensor | None = None) -> Sample:
    return Sample(image, case="c", patient="p", domain="d", field_of_view=fov)


@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 2, 9, 7)])
def test_lightness_is_scikit_images(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(rgb2lab(image.numpy(), channel_axis=0)[:1] / 100).float()
    torch.testing.assert_close(lightness(sample(image)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 2, 9, 7)])
def test_only_lightness_changes(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    fov = torch.ones(shape[1:], dtype=torch.bool)
    fov[..., 0] = False
    result = relight(sample(image, fov), lambda grey: grey.replace(image=grey.image + 0.05)).image
    before, after = (rgb2lab(x.numpy(), channel_axis=0)[..., 1:] for x in (image, result))
    assert abs(after[0] - before[0] - 5).max() < 0.02 and abs(after[1:] - before[1:]).max() < 0.02
    assert not result[..., 0].any()
    same = relight(sample(image), lambda grey: grey).image
    torch.testing.assert_close(same, image, atol=1e-4, rtol=0)


def test_colors_lie_in_0_to_1() -> None:
    with pytest.raises(DataError, match=r"Case 'c': three channels in -0.5 … 1"):
        lightness(sample(torch.tensor([-0.5, 0, 1]).view(3, 1, 1)))
