"""ADVENT: the discriminator sees shares of entropy; without a weight nothing is left but erm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from adaptation_batches import build, is_erm
from unshift.objectives.advent import Advent


def test_maps_sum_to_the_entropy_of_scipy() -> None:
    logits = 5 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = Advent.maps(logits).sum(1)
    np.testing.assert_allclose(found.numpy(), entropy(softmax(logits.numpy(), axis=1), axis=1) / math.log(3), rtol=1e-3)
    assert float(Advent.maps(torch.zeros(1, 3, 1, 1)).sum()) == pytest.approx(1)


def test_sure_predictions_have_finite_maps_and_gradients() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    Advent.maps(logits).sum().backward()
    assert float(Advent.maps(logits).detach().abs().sum()) == 0 and torch.isfinite(logits.grad).all()


def test_switched_off_it_is_erm() -> None:
    objective = build(Advent, weight=0.0)
    assert objective.phases == ("train",) and is_erm(objective)
