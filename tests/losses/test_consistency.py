from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import entropy
from torch import Tensor

from unshift.losses.consistency import sigmoid_divergence, softmax_divergence


def pair(channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(2 * torch.randn(2, channels, 5, 4, generator=generator) for _ in range(2))  # type: ignore[return-value]


def test_of_classes_by_scipy() -> None:
    p, q = (softmax(logits.double().numpy(), axis=1) for logits in pair())
    expected = (entropy(p, q, axis=1) + entropy(q, p, axis=1)).mean() / 3
    assert float(softmax_divergence(*pair())) == pytest.approx(expected, rel=1e-5)


def test_of_regions_by_scipy() -> None:
    p, q = (np.stack([x, 1 - x]) for x in (expit(logits.double().numpy()) for logits in pair(2)))
    expected = (entropy(p, q, axis=0) + entropy(q, p, axis=0)).mean()
    assert float(sigmoid_divergence(*pair(2))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("divergence", [softmax_divergence, sigmoid_divergence])
def test_it_is_symmetric_zero_for_equals_and_sends_gradients_both_ways(divergence: object) -> None:
    first, second = (logits.requires_grad_() for logits in pair())
    found = divergence(first, second)  # type: ignore[operator]
    assert found.item() > 0 and torch.equal(found, divergence(second, first))  # type: ignore[operator]
    assert divergence(first, first).item() == 0  # type: ignore[operator]
    found.backward()
    assert first.grad.abs().sum() > 0 and second.grad.abs().sum() > 0


@pytest.mark.parametrize("divergence", [softmax_divergence, sigmoid_divergence])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [17.0, 200.0, 6e4])
def test_saturated_logits_stay_finite(divergence: object, dtype: torch.dtype, size: float) -> None:
    """log(softmax) of the naive formula is -inf here: in half precision from logits of 17."""
    first = torch.full((1, 2, 3, 3), size, dtype=dtype)
    first[:, 1] = -size
    second = first.flip(1)
    first, second = first.requires_grad_(), second.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = divergence(first, second)  # type: ignore[operator]
    assert found.dtype == torch.float32 and torch.isfinite(found)
    assert found.item() == pytest.approx(float(2 * first.detach()[0, 0, 0, 0].double()), rel=1e-3)
    found.backward()
    assert torch.isfinite(first.grad).all() and torch.isfinite(second.grad).all()
    naive = [logits.detach().softmax(1) for logits in (first, second)]
    assert not torch.isfinite(((naive[0] - naive[1]) * (naive[0].log() - naive[1].log())).mean()) or size < 100
