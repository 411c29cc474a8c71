from __future__ import annotations

import pytest
import torch

from unshift.augmentations.drawing import coin, per_image, uniform


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_coin_has_its_probability(probability: float) -> None:
    flags = coin(torch.Generator().manual_seed(0), 20_000, probability)
    assert flags.dtype == torch.bool
    deviation = (probability * (1 - probability) / 20_000) ** 0.5
    assert float(flags.double().mean()) == pytest.approx(probability, abs=5 * deviation)


def test_uniform_fills_its_range() -> None:
    values = uniform(torch.Generator().manual_seed(0), (20_000,), -3.0, 5.0)
    assert float(values.min()) >= -3 and float(values.max()) < 5
    assert float(values.mean()) == pytest.approx(1.0, abs=5 * 8 / (12 * 20_000) ** 0.5)
    assert float(values.std()) == pytest.approx(8 / 12**0.5, rel=0.02)


def test_the_generator_decides() -> None:
    first, second = (uniform(torch.Generator().manual_seed(7), (5,), 0.0, 1.0) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 1, 2, 4, 5)])
def test_one_value_an_image(shape: tuple[int, ...]) -> None:
    found = per_image(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(shape)) * torch.ones(shape)
    assert found.flatten(1).unique(dim=1).flatten().tolist() == [1, 2, 3]
