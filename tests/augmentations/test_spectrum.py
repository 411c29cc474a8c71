from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unshift.augmentations.spectrum import low_window, mix_amplitude


def mixed_by_numpy(images: Tensor, partners: Tensor, share: Tensor, half_width: tuple[int, ...]) -> np.ndarray:
    """The formula with full complex FFTs, one image and channel at a time, in float64."""
    axes = tuple(range(-len(half_width), 0))
    x, z = images.double().numpy(), partners.double().numpy()
    found = np.empty_like(x)
    grids = [np.abs(np.fft.fftfreq(n, 1 / n)).round().astype(int) for n in x.shape[-len(half_width) :]]
    inside = np.ones(1, dtype=bool)
    for grid, half in zip(grids, half_width, strict=True):
        inside = np.logical_and(inside[..., None], grid <= half)
    for image in range(len(x)):
        for channel in range(x.shape[1]):
            own, other = (np.fft.fftn(a[image, channel], axes=axes) for a in (x, z))
            amplitude, r = np.abs(own), float(share[image])
            moved = np.where(inside[0], r * amplitude + (1 - r) * np.abs(other), amplitude)
            result = np.fft.ifftn(moved * np.exp(1j * np.angle(own)), axes=axes)
            assert np.abs(result.imag).max() < 1e-9 * np.abs(result.real).max(), "a centered window gives real images"
            found[image, channel] = result.real
    return found


def example(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=generator)
    partners = 0.5 * torch.rand(shape, generator=generator) ** 2 + 0.3
    return images, partners, torch.rand(shape[0], generator=generator)


@pytest.mark.parametrize(
    ("shape", "half_width"),
    [
        ((3, 2, 32, 24), (2, 2)),
        ((2, 1, 21, 27), (3, 1)),
        ((2, 3, 16, 16), (0, 0)),
        ((2, 1, 16, 15), (7, 7)),
        ((2, 1, 16, 16), (8, 8)),
        ((2, 2, 5, 24, 20), (2, 2)),
        ((2, 2, 10, 24, 20), (1, 2, 3)),
        ((2, 1, 3, 16, 16), (1, 2, 2)),
        ((2, 1, 1, 1), (0, 0)),
    ],
    ids=str,
)
def test_the_formula_by_numpy(shape: tuple[int, ...], half_width: tuple[int, ...]) -> None:
    images, partners, share = example(shape)
    found = mix_amplitude(images, partners, share, half_width=half_width)
    expected = mixed_by_numpy(images, partners, share, half_width)
    assert found.shape == images.shape and found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    exact = mix_amplitude(images.double(), partners.double(), share.double(), half_width=half_width)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(2, 24),
    width=st.integers(2, 24),
    ratio=st.floats(0, 0.6),
    seed=st.integers(0, 99),
)
def test_any_size_and_window(height: int, width: int, ratio: float, seed: int) -> None:
    images, partners, share = example((2, 1, height, width), seed)
    half_width = low_window((height, width), ratio)
    found = mix_amplitude(images.double(), partners.double(), share.double(), half_width=half_width)
    np.testing.assert_allclose(found.numpy(), mixed_by_numpy(images, partners, share, half_width), atol=1e-11)


@pytest.mark.parametrize("half_width", [(3, 3), (16, 16)], ids=["products", "transforms"])
def test_partners_may_be_rows_of_the_batch(half_width: tuple[int, int]) -> None:
    images, _, share = example((4, 3, 32, 32))
    rows = torch.tensor([2, 0, 3, 3])
    found = mix_amplitude(images, rows, share, half_width=half_width)
    torch.testing.assert_close(found, mix_amplitude(images, images[rows], share, half_width=half_width))
    assert float((found - images).abs().max()) > 0.01


def test_a_share_of_one_or_oneself_as_partner_changes_nothing() -> None:
    images, partners, share = example((3, 3, 40, 40))
    half_width = low_window((40, 40), 0.1)
    one = mix_amplitude(images, partners, torch.ones(3), half_width=half_width)
    oneself = mix_amplitude(images, torch.arange(3), share, half_width=half_width)
    for found in (one, oneself):
        assert 255 * float((found - images).abs().max()) < 1e-3, "in grey levels"


def test_the_mean_is_mixed_and_phases_stay() -> None:
    """DC of the result = r DC of the image + (1 - r) DC of its partner; phases are the image's; outside, all is."""
    images, partners, share = (part.double() for part in example((3, 2, 48, 40)))
    found = mix_amplitude(images, partners, share, half_width=(4, 4))
    expected = share[:, None] * images.mean((-2, -1)) + (1 - share[:, None]) * partners.mean((-2, -1))
    torch.testing.assert_close(found.mean((-2, -1)), expected)
    before, after = (np.fft.fft2(part.numpy()) for part in (images, found))
    np.testing.assert_allclose(np.angle(after / before), 0, atol=1e-9)
    index = np.abs(np.fft.fftfreq(48, 1 / 48))[:, None] + 0 * np.arange(40)
    outside = np.maximum(index, np.abs(np.fft.fftfreq(40, 1 / 40))[None]) > 4
    np.testing.assert_allclose(after[..., outside], before[..., outside], atol=1e-9)
    assert np.abs(np.abs(after) - np.abs(before))[..., ~outside].min() > 1e-3


def test_black_images_take_brightness_and_nothing_is_clipped() -> None:
    black, bright = torch.zeros(1, 1, 32, 32), torch.full((1, 1, 32, 32), 3.0)
    found = mix_amplitude(black, bright, torch.tensor([0.25]), half_width=(3, 3))
    torch.testing.assert_close(found, torch.full_like(black, 0.75 * 3.0))


def test_half_precision_and_autocast_compute_in_float32() -> None:
    images, partners, share = example((2, 3, 64, 64))
    exact = mix_amplitude(images, partners, share, half_width=(6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        found = mix_amplitude(images, partners, share, half_width=(6, 6))
    assert found.dtype == torch.float32 and torch.equal(found, exact)
    halved = mix_amplitude(images.bfloat16(), partners.bfloat16(), share, half_width=(6, 6))
    expected = mix_amplitude(images.bfloat16().float(), partners.bfloat16().float(), share, half_width=(6, 6))
    assert halved.dtype == torch.bfloat16 and torch.equal(halved, expected.bfloat16())


def test_inputs_stay_and_channels_last_is_fine() -> None:
    images, partners, share = example((2, 3, 32, 32))
    copies = images.clone(), partners.clone()
    found = mix_amplitude(images, partners, share, half_width=(3, 3))
    assert torch.equal(images, copies[0]) and torch.equal(partners, copies[1])
    strided = mix_amplitude(images.contiguous(memory_format=torch.channels_last), partners, share, half_width=(3, 3))
    torch.testing.assert_close(strided, found)


def test_the_windows_of_the_paper() -> None:
    assert [2 * low_window((n, n), 0.1)[0] + 1 for n in (256, 384)] == [51, 77]
    assert low_window((3, 96, 128), 0.1) == (9, 9)
