from __future__ import annotations

import numpy as np

from unshift.phantom.endoscopy import NEUTRAL, PRESETS, Endoscopy, Throat
from unshift.phantom.shapes import pixel_grid
from unshift.phantom.world import Seeds

WORLD, SIZE = Endoscopy(), (96, 96)


def mean_of(seed: int, label: int, knobs=NEUTRAL) -> float:
    drawn = WORLD.render(Seeds(seed, seed), knobs, SIZE)
    return drawn.image[:, drawn.label_map == label].mean()


def test_the_task_is_that_of_the_colour_quality_paper() -> None:
    assert WORLD.task(2).classes == ("background", "tonsil", "uvula", "tongue", "back_wall")
    assert WORLD.task(2).channels == 3


def test_light_falls_off_toward_the_back_wall() -> None:
    for seed in range(8):
        wall = mean_of(seed, 4)
        assert wall < mean_of(seed, 3)
        assert wall < mean_of(seed, 2)
        assert wall < mean_of(seed, 1)
        assert wall < mean_of(seed, 0)


def test_mucosa_is_red() -> None:
    red, green, blue = WORLD.render(Seeds(0, 0), NEUTRAL, SIZE).image.mean((1, 2))
    assert red > 1.3 * green
    assert red > 1.3 * blue


def test_parts_lie_where_they_do_in_a_throat() -> None:
    x, y = pixel_grid(*SIZE)
    for seed in range(8):
        throat = Throat.draw(np.random.default_rng(seed), np.random.default_rng(seed))
        labels = throat.label_map(x, y)
        middle = {label: (x[labels == label].mean(), y[labels == label].mean()) for label in (2, 3, 4)}
        assert middle[2][1] < middle[4][1] < middle[3][1]
        assert abs(middle[2][0]) < 0.15
        tonsils = x[labels == 1]
        assert (tonsils < 0).any() and (tonsils > 0).any()


def test_frames_are_poses_of_one_throat() -> None:
    one, other = (Throat.draw(np.random.default_rng(5), np.random.default_rng(f)) for f in (1, 2))
    assert one.opening == other.opening
    assert one.tonsils == other.tonsils
    assert (one.turn, one.zoom) != (other.turn, other.zoom)


def test_the_old_scope_is_round_and_the_others_full() -> None:
    seen = {name: WORLD.render(Seeds(0, 0), knobs, SIZE).field_of_view for name, knobs in PRESETS.items()}
    assert 0.7 < seen["old_scope"].mean() < 0.85
    assert all(seen[name].all() for name in ("clinic", "phone", "fogged"))
