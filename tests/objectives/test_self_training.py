"""Self-training: pseudo-labels by hand, a teacher that leads, and erm without a weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from adaptation_batches import build, equal, is_erm, source, target, trained
from unshift.errors import ConfigError, DataError
from unshift.objectives.self_training import SelfTraining, pseudo_label_loss


def test_switched_off_it_is_erm() -> None:
    objective = build(SelfTraining, weight=0.0)
    assert objective.teacher is None and is_erm(objective)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.99])
def test_only_labels_that_the_teacher_is_sure_of_count(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(2, 3, 5, 5, generator=generator) for _ in range(2))
    told, said = softmax(teacher.double().numpy(), axis=1), softmax(student.double().numpy(), axis=1)
    label, sure = told.argmax(1), told.max(1) > threshold
    errors = -np.log(np.take_along_axis(said, label[:, None], axis=1)[:, 0])
    assert float(pseudo_label_loss(student, teacher, threshold)) == pytest.approx((errors * sure).mean(), rel=1e-5)


def test_the_losses_by_hand() -> None:
    """Without augmentations, in evaluation, the student's own view is the teacher's."""
    objective = build(SelfTraining, weight=0.5, threshold=0.3, augmentations=()).eval()
    with torch.no_grad():
        for parameter in objective.teacher.parameters():
            parameter.mul_(2)
        told, said = objective.teacher(target().images), objective.network(target().images)
        terms = objective(source(), target(), phase="train")
    assert list(terms) == ["cross_entropy", "dice", "pseudo_labels"]
    assert float(terms["pseudo_labels"]) > 0
    torch.testing.assert_close(terms["pseudo_labels"], 0.5 * pseudo_label_loss(said, told, 0.3))


def test_the_student_sees_another_view_than_the_teacher() -> None:
    plain, augmented = (build(SelfTraining, threshold=0.0, **s) for s in ({"augmentations": ()}, {}))
    first, second = (o(source(), target(), phase="train") for o in (plain, augmented))
    assert torch.equal(first["dice"], second["dice"])
    assert not torch.equal(first["pseudo_labels"], second["pseudo_labels"])


def test_the_teacher_gets_no_gradient_and_the_training_goes_on_from_its_state() -> None:
    one = trained(build(SelfTraining, threshold=0.3))
    assert not any(p.requires_grad for p in one.teacher.parameters()) and int(one.teacher.updates) == 3
    other = build(SelfTraining, threshold=0.3)
    other.load_state_dict(one.state_dict())
    assert equal(one(source(), target(), phase="train"), other(source(), target(), phase="train"))


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match="'geometric' moves label maps"):
        build(SelfTraining, augmentations=({"name": "geometric"},))
    with pytest.raises(DataError, match="no unlabeled image"):
        build(SelfTraining)(source(), phase="train")
