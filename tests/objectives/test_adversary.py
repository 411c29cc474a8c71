"""The output discriminator and its two phases: who gets a gradient, what is told whom, and how many weights."""

from __future__ import annotations

import math

import pytest
import torch

from adaptation_batches import build, equal, source, target, trained
from unshift.errors import ShapeMismatch
from unshift.losses.overlap import segmentation_terms
from unshift.objectives.adapt_seg_net import AdaptSegNet
from unshift.objectives.advent import Advent
from unshift.objectives.adversary import OutputDiscriminator, verdict

MEMBERS = pytest.mark.parametrize("member", [AdaptSegNet, Advent])


def test_the_discriminator_has_the_weights_that_its_docstring_counts() -> None:
    count = sum(p.numel() for p in OutputDiscriminator(2, 5).parameters())
    weights = 16 * 5 * 64 + 16 * (64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert count == weights + 64 + 128 + 256 + 512 + 1
    assert OutputDiscriminator(2, 3, 2)(torch.rand(2, 3, 96, 64)).shape == (2, 1, 3, 2)
    assert OutputDiscriminator(3, 3, 2)(torch.rand(1, 3, 32, 32, 64)).shape == (1, 1, 1, 1, 2)
    with pytest.raises(ShapeMismatch, match="maps are 31×40; five strides of 2 need 32 pixels"):
        OutputDiscriminator(2, 3, 2)(torch.rand(2, 3, 31, 40))
    with pytest.raises(ShapeMismatch, match=r"^Objective advent: maps are 8×48×48; .*input\.size.*two numbers"):
        OutputDiscriminator(3, 3, 2, who="Objective advent")(torch.rand(2, 3, 8, 48, 48))


def test_verdicts_by_hand() -> None:
    told = torch.tensor([0.0, 2.0, -1.0]).view(3, 1, 1, 1)
    for wanted in (0.0, 1.0):
        p = [1 / (1 + math.exp(-t)) for t in (0.0, 2.0, -1.0)]
        expected = sum(-math.log(q if wanted else 1 - q) for q in p) / 3
        assert float(verdict(told, wanted, "cross_entropy")) == pytest.approx(expected)
        expected = sum((t - wanted) ** 2 for t in (0.0, 2.0, -1.0)) / 3
        assert float(verdict(told, wanted, "least_squares")) == pytest.approx(expected)


@MEMBERS
def test_each_phase_moves_its_own_part_alone(member) -> None:
    objective = build(member, width=4)
    groups = objective.parameter_groups()
    assert objective.phases == ("discriminator", "train") == tuple(groups)
    assert groups["discriminator"][0]["scale"] == 0.1
    before = {name: value.clone() for name, value in objective.network.state_dict().items()}
    sum(objective(source(), target(), phase="discriminator").values()).backward()
    assert all(p.grad is None for p in objective.network.parameters())
    found = {n: v for n, v in objective.network.state_dict().items() if "num_batches" not in n}
    assert all(torch.equal(value, before[name]) for name, value in found.items())  # nor do statistics move
    optimized = {id(p) for p in groups["train"][0]["params"]}
    assert optimized == {id(p) for p in objective.network.parameters()}


@MEMBERS
def test_the_losses_by_hand(member) -> None:
    objective = build(member, width=4, weight=0.5).eval()
    with torch.no_grad():
        first, second = objective.network(source().images), objective.network(target().images)
        told = [objective.discriminator(objective.maps(logits)) for logits in (first, second)]
        judged = objective(source(), target(), phase="discriminator")
        terms = objective(source(), target(), phase="train")
    expected = 0.5 * (verdict(told[0], 0.0, "cross_entropy") + verdict(told[1], 1.0, "cross_entropy"))
    torch.testing.assert_close(judged, {"discriminator": expected})
    supervised = segmentation_terms(first, source().label_maps)
    fooled = 0.5 * verdict(told[1], 0.0, "cross_entropy")  # told 0, the source
    torch.testing.assert_close(terms, {**supervised, "adversary": fooled})


@MEMBERS
def test_a_training_goes_on_from_its_state(member) -> None:
    one = trained(build(member, width=4))
    other = build(member, width=4)
    other.load_state_dict(one.state_dict())
    for phase in one.phases:
        assert equal(one(source(), target(), phase=phase), other(source(), target(), phase=phase))


@MEMBERS
def test_files_that_decide_the_losses_decide_the_training(member) -> None:
    assert {path.stem for path in member.files(member.Config())} == {"adversary", "two_domains"}
