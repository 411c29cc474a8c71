from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from unshift.contracts import Network
from unshift.objectives.erm import Config, EmpiricalRisk
from unshift.sample import Batch, Task

TASK = Task(channels=1, classes=("background", "disc", "cup"))


class Fixed(Network):
    """The same logits whatever the images."""

    taps = ()

    def __init__(self, logits: Tensor) -> None:
        super().__init__(None, TASK)
        self.logits = nn.Parameter(logits)

    def features(self, images: Tensor) -> list[Tensor]:
        return []

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.logits


def example() -> tuple[EmpiricalRisk, Batch]:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        images=torch.rand(2, 1, 6, 5, generator=generator),
        domains=("a", "b"),
        cases=("1", "2"),
        label_maps=torch.randint(0, 3, (2, 6, 5), generator=generator),
    )
    return EmpiricalRisk(Config(), TASK, Fixed(torch.randn(2, 3, 6, 5, generator=generator)), ("a", "b")), batch


def test_the_loss_is_cross_entropy_plus_dice_of_the_pooled_batch() -> None:
    objective, batch = example()
    monai = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6)
    terms = objective(batch, phase="train")
    expected = monai(objective.network.logits, batch.label_maps[:, None])
    assert set(terms) == {"cross_entropy", "dice"}
    torch.testing.assert_close(sum(terms.values()), expected)


def test_background_can_be_left_out_of_dice() -> None:
    objective, batch = example()
    without = EmpiricalRisk(Config(include_background=False), TASK, objective.network)
    monai = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6
    )
    expected = monai.dice(objective.network.logits, batch.label_maps[:, None])
    torch.testing.assert_close(without(batch, phase="train")["dice"], expected)
    assert float(expected.detach()) != pytest.approx(float(objective(batch, phase="train")["dice"].detach()))
