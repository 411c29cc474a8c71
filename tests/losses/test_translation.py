from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.losses.translation import (
    Side,
    TranslationWeights,
    discrimination,
    distance,
    encoding_terms,
    least_squares,
    weighted,
)


def side(seed: int) -> Side:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    image, content, style = (2, 1, 6, 5), (2, 4, 3, 2), (2, 8)
    shapes = (image, content, style, image, image, content, style, image)
    return Side(*(draw(*shape) for shape in shapes))


def l1(first: Tensor, second: Tensor) -> float:
    return float(np.abs(first.double().numpy() - second.double().numpy()).mean())


def test_the_terms_by_hand() -> None:
    a, b = side(0), side(1)
    expected = {
        "reconstruction": l1(a.image, a.reconstructed) + l1(b.image, b.reconstructed),
        "cycle": l1(a.image, a.cycled) + l1(b.image, b.cycled),
        "content": l1(a.content, a.content_again) + l1(b.content, b.content_again),
        "style": l1(a.style, a.style_again) + l1(b.style, b.style_again),
    }
    terms = encoding_terms(a, b)
    assert list(terms) == list(expected)
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value, rel=1e-5), name


def test_no_term_stops_a_gradient() -> None:
    """Of |x - y| it is the sign of the difference over the number of elements, on either side with its own sign."""
    compared = {
        "reconstruction": ("image", "reconstructed"),
        "cycle": ("image", "cycled"),
        "content": ("content", "content_again"),
        "style": ("style", "style_again"),
    }
    sides = side(0), side(1)
    for part in (value for one in sides for value in vars(one).values()):
        part.requires_grad_()
    for name, term in encoding_terms(*sides).items():
        for one in sides:
            first, second = (getattr(one, field) for field in compared[name])
            found = torch.autograd.grad(term, (first, second), retain_graph=True)
            expected = (first - second).sign().detach() / first.numel()
            torch.testing.assert_close(found, (expected, -expected))


def test_equal_sides_give_equal_shares() -> None:
    a, b = side(0), side(1)
    both, swapped, twice = encoding_terms(a, b), encoding_terms(b, a), encoding_terms(a, a)
    for name in both:
        assert float(both[name]) == pytest.approx(float(swapped[name]))
        alone = float(encoding_terms(a, replace(a))[name])
        assert float(twice[name]) == pytest.approx(alone)


def test_the_authors_weights() -> None:
    names = ("reconstruction", "cycle", "content", "style", "image", "confusion")
    ones = {name: torch.ones(()) for name in names}
    assert [float(v) for v in weighted(ones, TranslationWeights()).values()] == [10, 10, 1, 1, 1, 1]
    assert float(weighted(ones, TranslationWeights(style=0.0))["style"]) == 0


def test_least_squares_by_hand() -> None:
    judgments = [torch.tensor([0.0, 2.0]), torch.tensor([[3.0]])]
    assert float(least_squares(judgments, 1.0)) == pytest.approx((1 + 1) / 2 + 4)
    assert float(discrimination([torch.tensor([0.5])], [torch.tensor([0.25])])) == pytest.approx(0.25 + 0.5625)
    assert float(discrimination([torch.zeros(3)], [torch.ones(3)])) == 0


def test_half_precision_is_summed_in_float32() -> None:
    many = torch.full((300, 300), 0.1, dtype=torch.bfloat16)
    found = least_squares([many], 0.0)
    assert found.dtype == torch.float32 and float(found) == pytest.approx(float(many[0, 0]) ** 2, rel=1e-4)
    assert distance(many, torch.zeros_like(many)).dtype == torch.float32
