"""The teacher follows once a step, by hand."""

from __future__ import annotations

import torch
from torch import nn

from adaptation_batches import build
from unshift.objectives import erm
from unshift.objectives.teacher import Teacher


def step(student: nn.Module) -> None:
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1)


def test_it_follows_once_a_step() -> None:
    student = build(erm.MEMBER).network
    teacher = Teacher(student).train()
    expected = [p.detach().clone() for p in student.parameters()]
    for number in range(5):
        kept = min(1 - 1 / (number + 1), 0.6)
        expected = [kept * e + (1 - kept) * p.detach() for e, p in zip(expected, student.parameters(), strict=True)]
        for _ in range(2):  # accumulated batches of one step
            teacher.follow(student, 0.6)
        assert int(teacher.updates) == number + 1
        for mine, wanted in zip(teacher.network.parameters(), expected, strict=True):
            torch.testing.assert_close(mine, wanted)
            assert not mine.requires_grad
        step(student)


def test_resumed_from_the_end_of_a_step_it_goes_on_as_if_nothing_had_been() -> None:
    student = build(erm.MEMBER).network
    one = Teacher(student).train()
    for _ in range(2):
        one.follow(student, 0.9)
        step(student)
    other = Teacher(student).train()
    other.load_state_dict(one.state_dict())
    for teacher in (one, other):
        teacher.follow(student, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert int(one.updates) == 3


def test_in_evaluation_it_stays() -> None:
    student = build(erm.MEMBER).network
    teacher = Teacher(student).eval()
    teacher.follow(student, 0.6)
    assert int(teacher.updates) == 0
