"""Histogram matching against scikit-image, by hand, and what it must not change."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.color import rgb_to_lab
from skimage.exposure import match_histograms

from unshift.errors import BundleError, DataError
from unshift.normalizations.histogram_matching import LEVELS, HistogramMatching
from unshift.sample import Sample


def sample(image: torch.Tensor, fov: torch.Tensor | None = None) -> Sample:
    return Sample(image, case="c", patient="p", domain="d", field_of_view=fov)


def fitted(*images: torch.Tensor, **settings) -> HistogramMatching:
    return HistogramMatching(HistogramMatching.Config(**settings)).fit([sample(image) for image in images])


def matched(method: HistogramMatching, image: torch.Tensor, fov: torch.Tensor | None = None) -> torch.Tensor:
    [view] = method.views(sample(image, fov))
    return view.image


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_it_agrees_with_scikit_image_where_no_levels_are_tied() -> None:
    shuffled = torch.randperm(4200, generator=torch.Generator().manual_seed(1)).view(1, 60, 70) / 4200
    image, reference = uniform(1, 60, 70), shuffled**3 * 200 - 50
    expected = match_histograms(image[0].numpy(), reference[0].numpy())
    difference = np.abs(matched(fitted(reference), image)[0].numpy() - expected)
    # half a rank and half a level apart, in steps of at most 3 · 200 / 4,096 where the histogram is thinnest
    assert difference.max() < 3 * 200 / 4096 + 1e-3 and difference.mean() < 0.05


def test_by_hand() -> None:
    reference = torch.tensor([[[10.0, 10, 20, 40]]])
    image = torch.tensor([[[5.0, 5, 7, 9]]])
    assert matched(fitted(reference), image).tolist() == [[[10, 10, 20, 40]]]
    # of two values the lower has rank 1/4, in the middle of the 10s, and the upper 3/4, between 20 and 40
    assert matched(fitted(reference), torch.tensor([[[1.0, 2]]])).tolist() == [[[10, 30]]]


def test_the_target_is_the_mean_of_cumulative_histograms_whatever_the_images_sizes() -> None:
    small, large = torch.zeros(1, 4, 4), torch.full((1, 64, 64), 8.0)
    large[0, :32] = 4
    [quantiles] = fitted(small, large).state_dict().values()
    values, counts = quantiles[0].unique(return_counts=True)
    assert values.tolist() == [0, 4, 8] and (counts / LEVELS).tolist() == [0.5, 0.25, 0.25]


def test_an_image_matched_to_itself_stays() -> None:
    levels = torch.randint(0, 256, (1, 80, 80), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(matched(fitted(levels), levels), levels)


def test_a_border_stays_black_though_there_is_more_of_it() -> None:
    source, image = uniform(1, 20, 20) + 0.5, uniform(1, 20, 20, seed=1) + 0.5
    source[:, :, :7], image[:, :, :8] = 0, 0
    result = matched(fitted(source), image)
    assert not result[:, :, :8].any() and result[:, :, 8:].min() > 0.5
    assert match_histograms(image[0].numpy(), source[0].numpy())[:, :8].min() > 0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    exponent=st.floats(0.5, 2),
    scale=st.floats(1, 1000),
    offset=st.floats(-10, 10),
)
def test_strictly_increasing_changes_are_undone_and_order_is_kept(
    seed: int, exponent: float, scale: float, offset: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 20, (1, 4, 12, 12), generator=generator).double() / 20
    method = fitted(uniform(1, 30, 30, seed=1), uniform(1, 10, 10, seed=2) * 5)
    result = matched(method, image.float())
    assert torch.equal(matched(method, (image**exponent * scale + offset).float()), result)
    order = image.flatten().argsort()
    assert (result.flatten()[order].diff() >= 0).all()


def test_only_the_inside_counts_and_outside_is_zero() -> None:
    fov = torch.zeros(20, 20, dtype=torch.bool)
    fov[3:17, 3:17] = True
    source, image = uniform(2, 20, 20) * 100, uniform(2, 20, 20, seed=1)
    method = HistogramMatching(HistogramMatching.Config()).fit([sample(torch.where(fov, source, -999), fov)])
    assert torch.equal(method.state_dict()["quantiles"], fitted(source[:, 3:17, 3:17]).state_dict()["quantiles"])
    result = matched(method, torch.where(fov, image, 77), fov)
    assert not result[:, ~fov].any()
    assert torch.equal(result, matched(method, torch.where(fov, image, -3), fov))
    torch.testing.assert_close(result[:, 3:17, 3:17], matched(method, image[:, 3:17, 3:17].contiguous()))


def test_channels_by_themselves() -> None:
    source, image = uniform(3, 20, 20) * torch.tensor([1.0, 0.5, 0.2]).view(3, 1, 1), uniform(3, 20, 20, seed=1)
    result = matched(fitted(source, color="channels"), image)
    single = [matched(fitted(source[i : i + 1]), image[i : i + 1]) for i in range(3)]
    assert torch.equal(result, torch.cat(single))


def test_lightness_moves_and_hue_stays() -> None:
    dark, light = uniform(3, 24, 24) * 0.2 + 0.4, uniform(3, 24, 24, seed=1) * 0.2 + 0.5
    before, after = rgb_to_lab(dark), rgb_to_lab(matched(fitted(light), dark))
    torch.testing.assert_close(after[1:], before[1:], atol=0.05, rtol=0)
    wanted, found = rgb_to_lab(light)[0].flatten().sort().values, after[0].flatten().sort().values
    torch.testing.assert_close(found, wanted, atol=0.3, rtol=0)


def test_constant_images_get_the_median_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    method = fitted(torch.arange(101.0).view(1, 101, 1))
    with caplog.at_level(logging.WARNING):
        result = matched(method, torch.full((1, 5, 5), 3.0))
    assert result.unique().tolist() == [50] and "channel 0 is constant (3)" in caplog.text
    assert matched(fitted(torch.full((1, 4, 4), 7.0)), uniform(1, 5, 5)).unique().tolist() == [7]


def test_what_cannot_be_matched_is_said() -> None:
    config = HistogramMatching.Config()
    with pytest.raises(DataError, match="no source image"):
        HistogramMatching(config).fit([])
    with pytest.raises(DataError, match="not fitted"):
        matched(HistogramMatching(config), uniform(1, 4, 4))
    with pytest.raises(DataError, match=r"Case 'c': 2 channels to match and 1"):
        fitted(uniform(1, 4, 4), uniform(2, 4, 4))
    with pytest.raises(DataError, match=r"Case 'c': 2 channels to match; the source had 1"):
        matched(fitted(uniform(1, 4, 4)), uniform(2, 4, 4))
    with pytest.raises(DataError, match=r"color image is in 0 … 1.*color: channels"):
        fitted(uniform(3, 4, 4) * 2)
    with pytest.raises(BundleError, match=r"\[1, 7\].*\[channel, 4096\] is required"):
        HistogramMatching(config).load_state_dict({"quantiles": torch.zeros(1, 7)})
