"""Color spaces against scikit-image, and there and back on all real numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from unshift.normalizations import color_spaces as cs

PAIRS = {
    "light": (cs.to_linear, cs.from_linear),
    "curve": (cs.curve, cs.uncurve),
    "lab": (cs.rgb_to_lab, cs.lab_to_rgb),
    "grey": (cs.grey_to_lightness, cs.lightness_to_grey),
    "alpha_beta": (cs.rgb_to_alpha_beta, cs.alpha_beta_to_rgb),
}


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("space", [(7, 9), (3, 4, 5)])
def test_lab_is_scikit_images(space: tuple[int, ...]) -> None:
    images = uniform(2, 3, *space)
    expected = np.stack([rgb2lab(image.numpy(), channel_axis=0) for image in images])
    assert np.abs(cs.rgb_to_lab(images).numpy() - expected).max() < 0.006  # its white is rounded to five digits


def test_greys_have_no_color_and_lightness_is_that_of_lab() -> None:
    ramp = torch.linspace(0, 1, 256, dtype=torch.float64).view(1, 1, 16, 16)
    lab = cs.rgb_to_lab(ramp.expand(1, 3, 16, 16))
    assert lab[:, 1:].abs().max() < 1e-10
    torch.testing.assert_close(cs.grey_to_lightness(ramp), lab[:, :1])
    torch.testing.assert_close(cs.lightness(ramp), lab[:, :1])
    images = uniform(2, 3, 5, 6)
    torch.testing.assert_close(cs.lightness(images), cs.rgb_to_lab(images)[:, :1])


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), low=st.floats(-0.5, 0), high=st.floats(0.1, 3))
def test_there_and_back(name: str, seed: int, low: float, high: float) -> None:
    there, back = PAIRS[name]
    low = max(low, 0.0) if name == "alpha_beta" else low
    images = uniform(1, 3, 6, 7, seed=seed) * (high - low) + low
    torch.testing.assert_close(back(there(images)), images, atol=1e-7, rtol=0)


def test_alpha_beta_by_hand() -> None:
    red, green, blue = 0.2, 0.5, 0.7
    lms = [
        np.log(0.3811 * red + 0.5783 * green + 0.0402 * blue + 1 / 255),
        np.log(0.1967 * red + 0.7244 * green + 0.0782 * blue + 1 / 255),
        np.log(0.0241 * red + 0.1288 * green + 0.8444 * blue + 1 / 255),
    ]
    expected = [sum(lms) / 3**0.5, (lms[0] + lms[1] - 2 * lms[2]) / 6**0.5, (lms[0] - lms[1]) / 2**0.5]
    found = cs.rgb_to_alpha_beta(torch.tensor([red, green, blue], dtype=torch.float64).view(1, 3, 1, 1))
    assert found.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients(name: str) -> None:
    there, back = PAIRS[name]
    images = (uniform(1, 3, 2, 2) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(there, images)
    assert torch.autograd.gradcheck(back, there(images.detach()).requires_grad_())
