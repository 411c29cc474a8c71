from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from unshift.augmentations.fda import Config, FourierSwap
from unshift.errors import DataError, ProtocolError

DOMAINS = ("a", "b", "a", "c")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(side: int = 40) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(4, 2, side, side + 9, generator=generator())


def build(**settings: Any) -> FourierSwap:
    return FourierSwap(Config(**settings))


def swapped(image: np.ndarray, partner: np.ndarray, half: int) -> np.ndarray:
    """By NumPy's FFT: the centered square of the partner's amplitude, the image's phase."""
    result = []
    for x, z in zip(image, partner, strict=True):
        own, other = np.fft.fftshift(np.fft.fft2(x)), np.fft.fftshift(np.fft.fft2(z))
        amplitude = np.abs(own)
        row, column = (n // 2 for n in x.shape)
        square = (slice(row - half, row + half + 1), slice(column - half, column + half + 1))
        amplitude[square] = np.abs(other)[square]
        result.append(np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own)))).real)
    return np.clip(np.stack(result), 0, 1)


def test_it_is_the_swap_by_numpy() -> None:
    member, x = build(), images(120)
    for seed in range(3):
        p = member.draw(generator(seed), x, DOMAINS)
        found = member.apply(x, p)
        for row, partner in enumerate(p["partner"].tolist()):
            half = int(round(float(p["window"][row]), 6) * 120)
            expected = swapped(x[row].double().numpy(), x[partner].double().numpy(), half)
            np.testing.assert_allclose(found[row].numpy(), expected, atol=2e-4)
            assert DOMAINS[partner] != DOMAINS[row] and half in (1, 6, 10)


def test_a_window_of_nothing_swaps_the_mean_alone() -> None:
    member, x = build(windows=(0.0,)), images()
    p = member.draw(generator(), x, DOMAINS)
    means = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(member.apply(x, p), x - means + means[p["partner"]])


def test_off_gives_every_image_back_and_half_leaves_half() -> None:
    x = images()
    assert torch.equal(build(probability=0.0).apply(x, build(probability=0.0).draw(generator(), x, DOMAINS)), x)
    member = build(probability=0.5)
    p = member.draw(generator(3), x, DOMAINS)
    same = (member.apply(x, p) == x).flatten(1).all(1)
    assert torch.equal(same, ~p["swapped"]) and 0 < int(same.sum()) < 4


def test_every_window_occurs() -> None:
    drawn = build().draw(generator(), torch.zeros(600, 1, 2, 2))["window"]
    shares = [float((drawn == w).float().mean()) for w in drawn.unique()]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)


def test_one_domain_and_strange_intensities_are_errors() -> None:
    x = images()
    with pytest.raises(ProtocolError, match="holds only 'a'.*sampling: balanced"):
        build().draw(generator(), x, ("a",) * 4)
    p = build().draw(generator(), x, DOMAINS)
    with pytest.raises(DataError, match="fda: intensities span .* or set intensities: image"):
        build().apply(400 * x - 100, p)
    found = build(intensities="image").apply(400 * x - 100, p)
    assert float(found.min()) >= float(x.min()) * 400 - 100.1 and not torch.equal(found, 400 * x - 100)
    with pytest.raises(ValidationError, match="shares from 0 to 0.5 are required"):
        Config(windows=(0.6,))
