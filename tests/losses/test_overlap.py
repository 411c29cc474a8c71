from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from unshift.errors import ShapeMismatch
from unshift.losses.overlap import cross_entropy, dice_loss, segmentation_terms


def draw(seed: int, *space: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, *space, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (2, *space), generator=generator)


def by_hand(logits: torch.Tensor, label_maps: torch.Tensor, first: int = 0) -> float:
    x, y = logits.numpy(), label_maps.numpy()
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    losses = []
    for image in range(x.shape[0]):
        for label in range(first, x.shape[1]):
            q, t = p[image, label], (y[image] == label).astype(float)
            losses.append(1 - 2 * (q * t).sum() / ((q**2).sum() + (t**2).sum() + 1e-6))
    return float(np.mean(losses))


@pytest.mark.parametrize("space", [(7, 5), (4, 5, 3)])
@pytest.mark.parametrize("background", [True, False])
def test_dice_is_the_formula(space: tuple[int, ...], background: bool) -> None:
    logits, label_maps = draw(0, *space)
    found = dice_loss(logits, label_maps, include_background=background)
    assert float(found) == pytest.approx(by_hand(logits, label_maps, 0 if background else 1), abs=1e-6)


def test_the_sum_of_the_terms_is_monais_dice_ce() -> None:
    logits, label_maps = draw(1, 8, 6)
    monai = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6)
    terms = segmentation_terms(logits, label_maps)
    assert float(sum(terms.values())) == pytest.approx(float(monai(logits.float(), label_maps[:, None])), abs=1e-6)


def test_cross_entropy_by_hand() -> None:
    logits, label_maps = draw(2, 3, 3)
    log_p = logits - torch.logsumexp(logits, 1, keepdim=True)
    expected = -np.mean(
        [log_p[b, label_maps[b, i, j], i, j].item() for b in range(2) for i in range(3) for j in range(3)]
    )
    assert float(cross_entropy(logits, label_maps)) == pytest.approx(expected, abs=1e-6)


def test_perfect_logits_have_no_loss() -> None:
    label_maps = torch.arange(9).view(1, 3, 3) % 3
    logits = 100.0 * torch.nn.functional.one_hot(label_maps, 3).movedim(-1, 1)
    assert all(float(term) == pytest.approx(0.0, abs=1e-5) for term in segmentation_terms(logits, label_maps).values())


@pytest.mark.parametrize("confidence", [-200.0, 0.0, 200.0])
def test_an_absent_class_costs_one_and_sends_no_gradient(confidence: float) -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 1] = confidence
    logits.requires_grad_()
    loss = dice_loss(logits, torch.zeros(1, 4, 4, dtype=torch.int64), include_background=False)
    loss.backward()
    assert float(loss.detach()) == 1.0
    assert logits.grad is not None and float(logits.grad.abs().max()) == 0.0


def test_gradients_are_finite_when_a_class_is_absent() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    sum(segmentation_terms(logits, torch.zeros(2, 4, 4, dtype=torch.int64)).values()).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(1, 2, 600, 600, dtype=torch.bfloat16)
    label_maps = torch.zeros(1, 600, 600, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = dice_loss(logits, label_maps)
    assert loss.dtype == torch.float32
    # p = 1/2 everywhere: Dice of the background is 2 * (n / 2) / (n / 4 + n) = 0.8; the absent class has Dice 0
    assert float(loss) == pytest.approx((0.2 + 1.0) / 2, abs=1e-6)


def test_another_grid_is_an_error() -> None:
    with pytest.raises(ShapeMismatch, match=r"logits are \[1, 2, 4, 4\] but label maps are \[1, 8, 8\].*one grid"):
        dice_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 8, dtype=torch.int64))
