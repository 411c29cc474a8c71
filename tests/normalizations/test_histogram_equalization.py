from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from skimage.color import rgb2lab
from skimage.exposure import equalize_adapthist, equalize_hist

from unshift.errors import DataError
from unshift.normalizations.histogram_equalization import MEMBER
from unshift.sample import Sample

GENERATOR = torch.Generator().manual_seed(5)


def normalize(image: torch.Tensor, fov: torch.Tensor | None = None, **settings: Any) -> torch.Tensor:
    sample = Sample(image, "a", "a", "x", field_of_view=fov)
    return MEMBER(MEMBER.Config(**settings)).views(sample)[0].image


def test_global_is_the_share_of_values_not_above() -> None:
    image = torch.tensor([[[0.0, 0.0, 0.0, 1.0], [1.0, 2.0, 3.0, 3.0]]])
    assert (normalize(image) * 8).flatten().tolist() == [3, 3, 3, 5, 5, 6, 8, 8]


def test_global_equals_scikit_image_on_8_bit_images() -> None:
    stored = (torch.rand(40, 50, generator=GENERATOR) ** 3 * 255).to(torch.uint8)
    expected = equalize_hist(stored.numpy())
    np.testing.assert_allclose(normalize(stored[None] / 255).numpy()[0], expected, atol=1e-6)


def test_global_ranks_a_whole_volume_whatever_its_outliers() -> None:
    volume = torch.rand(1, 6, 30, 30, generator=GENERATOR) ** 4 * 900 - 100
    volume[0, 0, 0, 0] = 1e6
    ranks = rankdata(volume.numpy().ravel(), method="max") / volume.numel()
    np.testing.assert_allclose(normalize(volume).numpy().ravel(), ranks, atol=1e-6)


@given(gamma=st.floats(0.3, 3), gain=st.floats(0.1, 1))
def test_a_monotone_change_of_gray_levels_is_undone(gamma: float, gain: float) -> None:
    image = torch.linspace(0, 1, 64).reshape(1, 8, 8)
    assert torch.equal(normalize(image**gamma * gain), normalize(image))


def test_contrast_limited_equals_scikit_image_slice_by_slice() -> None:
    volume = torch.rand(1, 3, 40, 48, generator=GENERATOR)
    scaled = ((volume - volume.min()) / (volume.max() - volume.min())).double().numpy()[0]
    expected = np.stack([equalize_adapthist(plane, clip_limit=0.03) for plane in scaled])
    result = normalize(volume, method="contrast_limited", clip_limit=0.03)
    np.testing.assert_allclose(result.numpy()[0], expected, atol=2e-3)


def test_lightness_is_equalized_and_color_kept() -> None:
    image = torch.rand(3, 40, 40, generator=GENERATOR) * 0.1 + torch.tensor([0.5, 0.45, 0.4])[:, None, None]
    result = normalize(image)
    before, after = (rgb2lab(x.movedim(0, -1).numpy()) for x in (image, result))
    inside = (result.amin(0) > 0.001) & (result.amax(0) < 0.999)  # not clipped to the gamut
    assert inside.float().mean() > 0.5
    np.testing.assert_allclose(after[inside][:, 1:], before[inside][:, 1:], atol=0.5)
    ranks = rankdata(before[..., 0].ravel(), method="max").reshape(40, 40) / 1600
    np.testing.assert_allclose(after[inside][:, 0], 100 * ranks[inside], atol=2.0)


def test_channels_are_equalized_singly_when_asked() -> None:
    image = torch.rand(3, 20, 20, generator=GENERATOR)
    single = torch.cat([normalize(image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(normalize(image, color="channels"), single)
    assert not torch.allclose(normalize(image), single, atol=0.01)


@pytest.mark.parametrize("method", ["global", "contrast_limited"])
@pytest.mark.parametrize("channels", [1, 3])
def test_outside_is_zero(method: str, channels: int) -> None:
    image = torch.rand(channels, 32, 32, generator=GENERATOR)
    fov = torch.zeros(32, 32, dtype=torch.bool)
    fov[4:28, 4:28] = True
    result = normalize(image, fov, method=method)
    assert not result[:, ~fov].any()
    assert result.min() >= 0 and result.max() <= 1
    other = torch.where(fov, image, torch.rand(32, 32, generator=GENERATOR))
    torch.testing.assert_close(normalize(other, fov, method=method), result)


@pytest.mark.parametrize("method", ["global", "contrast_limited"])
def test_constant_images_and_slices_are_finite(method: str) -> None:
    for shape in ((1, 16, 16), (2, 16, 16), (1, 3, 16, 16)):
        assert not normalize(torch.full(shape, 0.4), method=method).any()
    color = torch.full((3, 16, 16), 0.4)
    assert torch.equal(normalize(color, method=method), color)
    volume = torch.rand(1, 3, 16, 16, generator=GENERATOR)
    volume[0, 1] = 0.5
    assert normalize(volume, method=method).isfinite().all()


def test_lightness_needs_colors() -> None:
    with pytest.raises(DataError, match=r"three channels in .*; a color image is in 0 … 1.*color: channels"):
        normalize(torch.rand(3, 8, 8) * 1000)
