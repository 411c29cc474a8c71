from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.experiment.content import content_images
from unshift.phantom.texture import one_over_f, texture


def spectral_slope(images: list[torch.Tensor]) -> float:
    """Mean exponent of power over frequency between 3 cycles an image and 0.4 cycles a pixel, grey, Hann window."""
    slopes = []
    for image in images:
        grey = image.double().mean(0).numpy()
        window = np.hanning(len(grey))
        power = np.abs(np.fft.fft2((grey - grey.mean()) * window[:, None] * window)) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(len(grey)), np.fft.fftfreq(len(grey)), indexing="ij"))
        edges = np.geomspace(3 / len(grey), 0.4, 9)
        rings = [power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges)]
        slopes.append(np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(rings), 1)[0])
    return float(np.mean(slopes))


@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**62))
@settings(max_examples=30, deadline=None)
def test_any_size_and_any_seed(height: int, width: int, seed: int) -> None:
    image = texture((height, width), seed=seed)
    assert image.shape == (3, height, width) and image.dtype == torch.float32
    assert float(image.min()) >= 0 and float(image.max()) <= 1


def test_the_seed_decides() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = texture((40, 50), seed=7)
    torch.manual_seed(1)
    assert torch.equal(first, texture((40, 50), seed=7))
    assert not torch.equal(first, texture((40, 50), seed=8))


def test_power_falls_about_as_one_over_the_square_of_frequency() -> None:
    slope = spectral_slope([texture((128, 128), seed=seed) for seed in range(24)])
    assert -2.7 < slope < -1.7
    assert spectral_slope([torch.rand(3, 128, 128)]) == pytest.approx(0, abs=0.3), "the measure tells noise from it"


@pytest.mark.parametrize("size", [(128, 128), (64, 128)])
def test_noise_has_amplitude_one_over_frequency(size: tuple[int, int]) -> None:
    fields = [one_over_f(np.random.default_rng(seed), size) for seed in range(40)]
    power = np.mean([np.abs(np.fft.fft2(field.astype(np.float64))) ** 2 for field in fields], axis=0)
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None])
    flat = (power * frequency**2)[frequency > 0]
    assert flat.std() / flat.mean() < 1.3 * np.sqrt(1 / 40), "what is left is the spread of a mean of 40 exponentials"
    assert all(abs(f.mean()) < 1e-5 and abs(f.std() - 1) < 1e-5 for f in fields)


def test_textures_are_diverse_and_use_the_range() -> None:
    images = torch.stack([texture((64, 64), seed=seed) for seed in range(40)])
    means = images.mean((1, 2, 3))
    assert 0.3 < float(means.mean()) < 0.7 and float(means.std()) > 0.08
    assert float(images.std((2, 3)).mean()) > 0.12
    assert float((images.amax(1) - images.amin(1)).mean()) > 0.05, "they are in colour"


@pytest.mark.real
def test_textures_have_about_the_spectrum_of_photographs(real_data: Path) -> None:
    found = {
        name: spectral_slope(content_images(folder, 60, channels=3, size=(128, 128), seed=0))
        for name, folder in (("photographs", real_data / "natural"), ("textures", None))
    }
    assert -3.0 < found["photographs"] < -2.0
    assert found["textures"] == pytest.approx(found["photographs"], abs=0.6)
