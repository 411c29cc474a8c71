from __future__ import annotations

import numpy as np
import pytest

from unshift.phantom.fetal_head import FetalHead
from unshift.phantom.shapes import pixel_grid

X, Y = pixel_grid(96, 96)
DOWN = (np.zeros((1, 96), np.float32), np.ones((1, 96), np.float32))


def draw(patient: int, frame: int = 0) -> FetalHead:
    return FetalHead.draw(np.random.default_rng(patient), np.random.default_rng(frame))


def test_the_label_is_the_ellipse_of_the_head_wherever_the_probe_is() -> None:
    for patient in range(8):
        anatomy = draw(patient)
        area = np.pi * np.prod(anatomy.head.radii)
        assert anatomy.label_map(X, Y).mean() == pytest.approx(area, rel=0.06)


def test_frames_share_the_anatomy_and_differ_by_the_probe() -> None:
    one, other = draw(3, 1), draw(3, 2)
    assert one.head == other.head
    assert one.levels == other.levels
    assert one.turn != other.turn
    assert draw(4, 1).head != one.head


def test_bone_is_on_the_rim_and_fluid_reflects_least() -> None:
    for patient in range(8):
        anatomy = draw(patient)
        echoes = anatomy.echoes(X, Y, DOWN)
        inside = anatomy.head.distance(*anatomy.local(X, Y))
        rim, brain = np.abs(inside + anatomy.skull) < anatomy.skull / 2, inside < -0.08
        assert echoes.bone[rim].mean() > 0.7
        assert echoes.bone[brain].mean() < 0.05
        assert echoes.diffuse[rim].mean() > echoes.diffuse[brain].mean() + 6
        assert echoes.diffuse.min() > -120 and echoes.diffuse.max() < 10


def test_mirrors_answer_only_when_struck_head_on() -> None:
    anatomy = draw(0)
    inside = anatomy.head.distance(*anatomy.local(X, Y))
    rim = np.abs(inside + anatomy.skull) < anatomy.skull
    across = tuple(reversed(DOWN))
    down, sideways = (anatomy.echoes(X, Y, d).specular for d in (DOWN, across))
    nu, nv = anatomy.head.normal(*anatomy.local(X, Y))
    top = rim & (np.abs(nv * np.cos(anatomy.turn) + nu * np.sin(anatomy.turn)) > 0.97)
    assert top.any()
    assert down[top].mean() > 5 * sideways[top].mean()
