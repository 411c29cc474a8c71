from __future__ import annotations

import numpy as np

from unshift.phantom.fundus import NEUTRAL, PRESETS, Fundus, Retina
from unshift.phantom.shapes import pixel_grid
from unshift.phantom.world import Seeds

WORLD, SIZE = Fundus(), (96, 96)


def test_the_disc_is_rim_and_cup() -> None:
    task = WORLD.task(2)
    assert task.classes == ("background", "rim", "cup")
    assert task.regions == {"disc": frozenset({1, 2}), "cup": frozenset({2})}


def test_the_cup_is_brighter_than_the_rim_and_the_rim_than_the_background() -> None:
    for seed in range(8):
        drawn = WORLD.render(Seeds(seed, seed), NEUTRAL, SIZE)
        background, rim, cup = (drawn.image[1][drawn.label_map == label].mean() for label in (0, 1, 2))
        assert cup > rim + 0.05
        assert rim > background + 0.05


def test_the_cup_lies_within_the_disc() -> None:
    x, y = pixel_grid(*SIZE)
    for seed in range(8):
        retina = Retina.draw(np.random.default_rng(seed), np.random.default_rng(seed))
        labels = retina.label_map(x, y)
        disc = retina.disc.level(*retina.local(x, y)) <= 1
        assert np.array_equal(labels > 0, disc)
        ratio = (labels == 2).sum() / (labels > 0).sum()
        assert 0.05 < ratio < 0.65


def test_vessels_begin_at_the_disc_and_darken_the_retina() -> None:
    x, y = pixel_grid(*SIZE)
    retina = Retina.draw(np.random.default_rng(1), np.random.default_rng(1))
    first = retina.vessels[0, :2]
    assert np.hypot(*(first - retina.disc.center)) < 0.01
    assert (retina.vessels[:, 2] > 0).all() and retina.vessels[:, 2].max() < 0.02
    plain = np.ones((3, *SIZE), np.float32)
    drawn = retina._blood(*retina.local(x, y), plain)
    assert drawn.min() < 0.6
    assert 0.03 < np.mean(drawn[1] < 0.8) < 0.35


def test_the_macula_is_temporal_of_the_disc() -> None:
    for seed in range(6):
        retina = Retina.draw(np.random.default_rng(seed), np.random.default_rng(seed))
        assert np.sign(retina.macula[0] - retina.disc.center[0]) == -np.sign(retina.disc.center[0])


def test_the_disc_is_within_every_cameras_aperture() -> None:
    for knobs in PRESETS.values():
        for seed in range(10):
            drawn = WORLD.render(Seeds(seed, seed), knobs, (64, 64))
            assert drawn.field_of_view[drawn.label_map > 0].all()


def test_four_cameras_differ_in_colour() -> None:
    colours = [WORLD.render(Seeds(0, 0), knobs, SIZE).image[:, 30:60, 30:60].mean((1, 2)) for knobs in PRESETS.values()]
    assert len(colours) == 4
    for i, one in enumerate(colours):
        assert all(np.abs(one - other).max() > 0.03 for other in colours[:i])
