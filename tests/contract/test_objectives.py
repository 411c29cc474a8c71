"""What every objective promises, for each one that exists, on a toy problem and a tiny network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshift.config import parse
from unshift.contracts import Network, Objective, Tap
from unshift.discover import load, names, summary
from unshift.sample import Batch, Task, UnlabeledBatch

MEMBERS = names("objectives")
TASK = Task(channels=3, classes=("background", "lesion"))
SOURCES = ("a", "b", "c")
_TRANSLATION: dict[str, Any] = {
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
}
SMALLER: dict[str, dict[str, Any]] = {
    "style_translation": _TRANSLATION,
    "glua": {"translation": {"name": "style_translation", **_TRANSLATION}, "tap": "level_1"},
}
"""Settings that fit images of 32 pixels and save time; nothing else here depends on them."""


class Tiny(Network):
    """Two levels with batch norm and one skip: the least that has taps and a decoder."""

    size_divisor = 2

    def __init__(self, task: Task) -> None:
        super().__init__(None, task)
        self.first = nn.Sequential(nn.Conv2d(self.in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.second = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(12))
        self.head = nn.Conv2d(20, task.num_classes, 3, padding=1)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, 8), Tap("level_2", 2, 12))

    def features(self, images: Tensor) -> list[Tensor]:
        shallow = torch.relu(self.first(images))
        return [shallow, torch.relu(self.second(shallow))]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        deep = nn.functional.interpolate(features[1], scale_factor=2.0, mode="nearest")
        return self.head(torch.cat([features[0], deep], dim=1))


def build(name: str) -> Objective:
    torch.manual_seed(0)
    member = load("objectives", name)
    return member(settings(name), TASK, Tiny(TASK), SOURCES)


def settings(name: str) -> Any:
    return parse(load("objectives", name).Config, SMALLER.get(name, {}), where=name)


def example(seed: int = 0) -> Batch:
    """Bright squares on noise, two images of each source."""
    generator = torch.Generator().manual_seed(seed)
    label_maps = torch.zeros(6, 32, 32, dtype=torch.int64)
    for label_map in label_maps:
        top, left = torch.randint(2, 16, (2,), generator=generator).tolist()
        label_map[top : top + 14, left : left + 14] = 1
    images = 0.5 * torch.rand(6, 3, 32, 32, generator=generator) + 0.5 * label_maps[:, None]
    return Batch(images, SOURCES * 2, tuple("123456"), seed, label_maps=label_maps)


def target(objective: Objective) -> UnlabeledBatch | None:
    if objective.setting.kind == "generalization":
        return None
    return UnlabeledBatch(torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(9)), ("t",) * 6, ("7",) * 6)


def total(objective: Objective, phase: str, batch: Batch) -> Tensor:
    return torch.stack(list(objective(batch, target(objective), phase=phase).values())).sum()


def test_there_are_members() -> None:
    assert {"erm", "augmented"} <= set(MEMBERS)


def test_an_unlabeled_batch_has_no_labels() -> None:
    batch = UnlabeledBatch(torch.zeros(1, 1, 2, 2), ("a",), ("1",))
    assert not [name for name in vars(batch) if "label" in name]


@pytest.mark.parametrize("name", MEMBERS)
def test_it_declares_itself(name: str) -> None:
    objective = build(name)
    assert summary("objectives", name).endswith(".")
    assert objective.setting.kind in ("generalization", "adaptation") and objective.setting.least_sources >= 1
    assert objective.phases and set(objective.parameter_groups()) == set(objective.phases)


@pytest.mark.parametrize("name", MEMBERS)
def test_terms_are_finite_scalars_and_every_parameter_gets_a_gradient(name: str) -> None:
    objective = build(name).train()
    for phase, groups in objective.parameter_groups().items():
        objective.zero_grad()
        terms = objective(example(), target(objective), phase=phase)
        assert terms and all(term.shape == () and torch.isfinite(term) for term in terms.values())
        torch.stack(list(terms.values())).sum().backward()
        parameters = [parameter for group in groups for parameter in group["params"]]
        assert parameters and all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)
        assert all(float(p.grad.abs().sum()) > 0 for p in parameters if p.ndim > 1)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_trainable_parameter_is_optimized(name: str) -> None:
    objective = build(name)
    optimized = {id(p) for groups in objective.parameter_groups().values() for g in groups for p in g["params"]}
    assert {id(p) for p in objective.parameters() if p.requires_grad} == optimized


@pytest.mark.parametrize("name", MEMBERS)
def test_steps_lower_the_loss(name: str) -> None:
    objective, batch = build(name).train(), example()
    phase = objective.phases[-1]
    groups = [{key: value for key, value in g.items() if key != "scale"} for g in objective.parameter_groups()[phase]]
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    first = float(total(objective, phase, batch).detach())
    for _ in range(15):
        optimizer.zero_grad()
        total(objective, phase, batch).backward()
        optimizer.step()
    assert float(total(objective, phase, batch).detach()) < 0.8 * first


@pytest.mark.parametrize("name", MEMBERS)
def test_the_same_weights_and_batch_give_the_same_terms(name: str) -> None:
    objective, batch = build(name).train(), example()
    for phase in objective.phases:
        torch.manual_seed(1)
        first = objective(batch, target(objective), phase=phase)
        torch.manual_seed(2)
        second = objective(batch, target(objective), phase=phase)
        assert first.keys() == second.keys() and all(torch.equal(first[term], second[term]) for term in first)


@pytest.mark.parametrize("name", MEMBERS)
def test_losses_leave_the_batch_as_it_was(name: str) -> None:
    objective, batch = build(name).train(), example()
    images, label_maps = batch.images.clone(), batch.label_maps.clone()
    for phase in objective.phases:
        objective(batch, target(objective), phase=phase)
    assert torch.equal(batch.images, images) and torch.equal(batch.label_maps, label_maps)


@pytest.mark.parametrize("name", MEMBERS)
def test_generalization_does_not_look_at_a_target(name: str) -> None:
    objective, batch = build(name).train(), example()
    if objective.setting.kind == "generalization":
        poison = UnlabeledBatch(torch.full((6, 3, 32, 32), torch.nan), ("t",) * 6, ("7",) * 6)
        for phase in objective.phases:
            without, beside = objective(batch, phase=phase), objective(batch, poison, phase=phase)
            assert all(torch.equal(without[term], beside[term]) for term in without)


@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_exported_is_logits_independent_of_batch_mates(name: str) -> None:
    objective, batch = build(name), example()
    for phase in objective.phases:
        objective.train()(batch, target(objective), phase=phase)
    objective.eval()
    with torch.no_grad():
        together = objective(batch.images)
        alone = torch.cat([objective(image[None]) for image in batch.images])
    assert together.shape == (6, 2, 32, 32)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MEMBERS)
def test_state_makes_a_round_trip(name: str) -> None:
    objective, batch = build(name), example()
    for phase in objective.phases:
        objective.train()(batch, target(objective), phase=phase)
    torch.manual_seed(5)
    member = load("objectives", name)
    other = member(settings(name), TASK, Tiny(TASK), SOURCES)
    other.load_state_dict(objective.state_dict())
    with torch.no_grad():
        assert torch.equal(other.eval()(batch.images), objective.eval()(batch.images))
