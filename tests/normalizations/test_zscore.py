from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import zscore

from unshift.config import Config
from unshift.normalizations.zscore import MEMBER
from unshift.sample import Sample


def normalize(image: torch.Tensor, fov: torch.Tensor | None = None) -> torch.Tensor:
    return MEMBER(Config()).views(Sample(image, "a", "a", "x", field_of_view=fov))[0].image


def test_by_hand() -> None:
    # mean 4, deviation sqrt((9 + 1 + 1 + 9) / 4) = sqrt(5)
    result = normalize(torch.tensor([[[1.0, 3.0], [5.0, 7.0]]]))
    assert result.flatten().tolist() == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5])


@pytest.mark.parametrize("shape", [(3, 8, 9), (2, 4, 5, 6)])
def test_equals_scipy_per_channel(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 300 + 1000
    expected = [zscore(channel.numpy().astype(np.float64), axis=None) for channel in image]
    np.testing.assert_allclose(normalize(image).numpy(), np.stack(expected), atol=1e-5)


def test_only_the_inside_counts_and_the_outside_is_zero() -> None:
    image = torch.tensor([[[1.0, 3.0, 1e6], [5.0, 7.0, -1e6]]])
    fov = torch.tensor([[True, True, False], [True, True, False]])
    result = normalize(image, fov)
    assert torch.equal(result[:, :, :2], normalize(image[:, :, :2]))
    assert not result[:, :, 2].any()


@given(scale=st.floats(0.01, 1000), shift=st.floats(-1000, 1000))
def test_gain_and_offset_are_removed(scale: float, shift: float) -> None:
    image = torch.linspace(-1, 1, 50).reshape(1, 5, 10) ** 3
    torch.testing.assert_close(normalize((image.double() * scale + shift).float()), normalize(image), atol=0.02, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, -3.3])
def test_constant_images_become_zero(value: float) -> None:
    assert not normalize(torch.full((1, 7, 7), value)).any()


def test_large_offsets_do_not_spoil_the_statistics() -> None:
    result = normalize(torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(1)) + 30000)
    assert float(result.double().mean()) == pytest.approx(0, abs=1e-5)
    assert float(result.double().std(correction=0)) == pytest.approx(1, abs=1e-4)
