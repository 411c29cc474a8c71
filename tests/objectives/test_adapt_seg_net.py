"""AdaptSegNet: the discriminator sees probabilities; without a weight nothing is left but erm."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import softmax

from adaptation_batches import build, is_erm, source, target
from unshift.objectives.adapt_seg_net import AdaptSegNet


def test_maps_are_those_of_scipy() -> None:
    logits = 5 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = AdaptSegNet.maps(logits.to(torch.float64))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), softmax(logits.numpy(), axis=1), rtol=1e-5)


def test_switched_off_it_is_erm() -> None:
    objective = build(AdaptSegNet, weight=0.0)
    assert objective.phases == ("train",) and objective.discriminator is None
    assert is_erm(objective)
    assert AdaptSegNet.phases == ("train",)


def test_least_squares_is_another_loss() -> None:
    found = [
        build(AdaptSegNet, adversary=kind)(source(), target(), phase="train")
        for kind in ("cross_entropy", "least_squares")
    ]
    assert not torch.equal(found[0]["adversary"], found[1]["adversary"])
