from __future__ import annotations

import numpy as np
import pytest
import torch

from unshift.config import parse
from unshift.errors import ConfigError
from unshift.normalizations.min_max import MEMBER
from unshift.sample import Sample


def normalize(image: torch.Tensor, fov: torch.Tensor | None = None, **settings: float) -> torch.Tensor:
    config = MEMBER.Config(**settings)
    return MEMBER(config).views(Sample(image, "a", "a", "x", field_of_view=fov))[0].image


def test_by_hand() -> None:
    image = torch.tensor([[[2.0, 4.0], [6.0, 10.0]]])
    assert normalize(image, low=0.0, high=100.0).flatten().tolist() == [0.0, 0.25, 0.5, 1.0]


def test_percentiles_equal_numpy() -> None:
    image = torch.randn(2, 6, 20, 20, generator=torch.Generator().manual_seed(3)) * 50
    for channel, result in zip(image.numpy().astype(np.float64), normalize(image, low=2.0, high=97.0), strict=True):
        low, high = np.quantile(channel, [0.02, 0.97])
        np.testing.assert_allclose(result.numpy(), np.clip((channel - low) / (high - low), 0, 1), atol=1e-6)


def test_one_hot_voxel_shifts_nothing() -> None:
    image = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    hot = image.clone()
    hot[0, 3, 3] = 1e5
    others = torch.ones(40, 40, dtype=torch.bool)
    others[3, 3] = False
    assert (normalize(hot) - normalize(image))[0, others].abs().max() < 0.01
    plain = normalize(hot, low=0.0, high=100.0)[0, others]
    assert plain.max() < 1e-4  # what the percentiles are for


def test_outside_is_zero_and_does_not_count() -> None:
    image = torch.tensor([[[0.0, 5.0, 10.0, 999.0]]])
    fov = torch.tensor([[True, True, True, False]])
    assert normalize(image, fov, low=0.0, high=100.0).flatten().tolist() == [0.0, 0.5, 1.0, 0.0]


def test_a_few_bright_pixels_on_black_survive() -> None:
    image = torch.zeros(1, 50, 50)
    image[0, 0, 0], image[0, 1, 1] = 4.0, 8.0
    result = normalize(image)
    assert (float(result[0, 0, 0]), float(result[0, 1, 1]), float(result.sum())) == (0.5, 1.0, 1.5)


def test_constant_images_become_zero() -> None:
    assert not normalize(torch.full((1, 4, 4), 0.3)).any()


@pytest.mark.parametrize("settings", [{"low": 60.0, "high": 40.0}, {"low": -1.0}, {"high": 101.0}])
def test_impossible_percentiles(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="0 ≤ low < high ≤ 100 is required"):
        parse(MEMBER.Config, settings, where="recipe.yaml")
