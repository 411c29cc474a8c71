"""AdaBN: weights are erm's bit for bit, running statistics the target's."""

from __future__ import annotations

import pytest
import torch

from adaptation_batches import TASK, build, equal, is_erm, source, target, trained
from unshift.errors import ConfigError, DataError
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import erm
from unshift.objectives.adabn import AdaBn, Config


def test_switched_off_it_is_erm() -> None:
    assert is_erm(build(AdaBn, statistics="source"))


def test_switched_on_the_weights_are_erms_and_the_statistics_are_not() -> None:
    mine, plain = trained(build(AdaBn)), trained(build(erm.MEMBER))
    others = dict(plain.network.named_parameters())
    assert all(torch.equal(p, others[name]) for name, p in mine.network.named_parameters())
    assert not equal(dict(mine.network.named_buffers()), dict(plain.network.named_buffers()))


def test_statistics_are_those_of_the_targets_images() -> None:
    objective = build(AdaBn, momentum=1.0)
    objective(source(), target(), phase="train")
    first = objective.network.down[0][0]
    with torch.no_grad():
        features = first[0](target().images)
    torch.testing.assert_close(first[1].running_mean, features.mean((0, 2, 3)))
    torch.testing.assert_close(first[1].running_var, features.transpose(0, 1).flatten(1).var(1))


def test_evaluation_leaves_statistics_alone() -> None:
    objective = build(AdaBn).eval()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective(source(), target(), phase="train")
    assert equal(before, objective.state_dict())


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_target_images_will_do(count: int) -> None:
    assert all(torch.isfinite(term) for term in build(AdaBn)(source(), target(count), phase="train").values())


def test_what_is_required_is_said() -> None:
    network = UNet(UNetConfig(widths=(4, 8), norm="instance"), TASK)
    with pytest.raises(ConfigError, match="UNet has no batch norm that keeps statistics"):
        AdaBn(Config(), TASK, network)
    with pytest.raises(DataError, match="no unlabeled image of a target"):
        build(AdaBn)(source(), phase="train")
