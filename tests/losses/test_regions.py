from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from unshift.losses.regions import region_logits, region_masks, region_terms

REGIONS = {"disc": frozenset({1, 2}), "cup": frozenset({2})}


def example() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(2, 3, 6, 5, generator=generator), torch.randint(0, 3, (2, 6, 5), generator=generator)


def test_a_regions_sigmoid_is_the_sum_of_its_classes_softmax() -> None:
    logits, _ = example()
    found = region_logits(logits, REGIONS).sigmoid().numpy()
    p = softmax(logits.double().numpy(), axis=1)
    np.testing.assert_allclose(found[:, 0], p[:, 1] + p[:, 2], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], p[:, 2], rtol=1e-5)
    assert (found[:, 1] <= found[:, 0]).all(), "a cup is never more probable than its disc"


def test_masks_of_regions_overlap() -> None:
    masks = region_masks(torch.tensor([[[0, 1], [2, 1]]]), REGIONS)
    assert masks.tolist() == [[[[0, 1], [1, 1]], [[0, 0], [1, 0]]]]


def test_terms_by_numpy() -> None:
    logits, label_maps = example()
    z, y = region_logits(logits, REGIONS), region_masks(label_maps, REGIONS)
    terms = region_terms(z, y)
    p, t = 1 / (1 + np.exp(-z.double().numpy())), y.double().numpy()
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    dice = 2 * (p * t).sum((2, 3)) / ((p * p).sum((2, 3)) + (t * t).sum((2, 3)) + 1e-6)
    assert float(terms["cross_entropy"]) == pytest.approx(entropy, rel=1e-5)
    assert float(terms["dice"]) == pytest.approx(1 - dice.mean(), rel=1e-5)


def test_saturated_logits_in_half_precision_stay_finite() -> None:
    logits = torch.tensor([6e4, -6e4, 0.0], dtype=torch.float16).view(1, 3, 1, 1).repeat(1, 1, 4, 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        terms = region_terms(region_logits(logits, REGIONS), region_masks(torch.full((1, 4, 4), 2), REGIONS))
    total = terms["cross_entropy"] + terms["dice"]
    total.backward()
    assert total.dtype == torch.float32 and torch.isfinite(total) and torch.isfinite(logits.grad).all()
