"""What every world promises: decided by its seeds, in range, with labels that no knob moves."""

from __future__ import annotations

import numpy as np
import pytest

from unshift.phantom.endoscopy import Endoscopy
from unshift.phantom.fundus import Fundus
from unshift.phantom.knobs import interpolate, shift
from unshift.phantom.organs import Organs
from unshift.phantom.ultrasound import Ultrasound
from unshift.phantom.world import Seeds, World, eight_bits

WORLDS: dict[str, tuple[World, tuple[int, ...]]] = {
    "ultrasound": (Ultrasound(), (64, 72)),
    "endoscopy": (Endoscopy(), (64, 72)),
    "fundus": (Fundus(), (64, 72)),
    "organs": (Organs(), (10, 40, 48)),
    "slices": (Organs(), (40, 48)),
}
NAMED = [(w, p) for w, (world, _) in WORLDS.items() for p in world.presets]
KNOBS = [(w, k) for w, (world, _) in WORLDS.items() for k in type(next(iter(world.presets.values()))).model_fields]


def first_preset(world: World):
    return next(iter(world.presets.values()))


@pytest.mark.parametrize(("name", "preset"), NAMED)
def test_contract(name: str, preset: str) -> None:
    world, size = WORLDS[name]
    task = world.task(len(size))
    drawn = world.render(Seeds(1, 2), world.presets[preset], size)
    assert drawn.image.shape == (task.channels, *size)
    assert drawn.image.dtype == np.float32
    assert np.isfinite(drawn.image).all()
    assert drawn.label_map.shape == size
    assert drawn.label_map.dtype == np.int64
    assert set(np.unique(drawn.label_map)) <= set(range(task.num_classes))
    assert task.spatial_dims == len(size)
    if not isinstance(world, Organs):
        assert drawn.image.min() >= 0 and drawn.image.max() <= 1
    if drawn.field_of_view is not None:
        assert drawn.field_of_view.dtype == bool
        assert drawn.image[:, ~drawn.field_of_view].max(initial=0) == 0


@pytest.mark.parametrize("name", WORLDS)
def test_the_same_seeds_draw_the_same_and_others_do_not(name: str) -> None:
    world, size = WORLDS[name]
    knobs = first_preset(world)
    one, again = world.render(Seeds(1, 2), knobs, size), world.render(Seeds(1, 2), knobs, size)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.label_map, again.label_map)
    for other in (Seeds(3, 2), Seeds(1, 4)):
        assert not np.array_equal(one.image, world.render(other, knobs, size).image)


@pytest.mark.parametrize(("name", "knob"), KNOBS)
def test_each_knob_moves_the_image_and_never_the_label_map(name: str, knob: str) -> None:
    world, size = WORLDS[name]
    knobs = first_preset(world)
    before = world.render(Seeds(1, 2), knobs, size)
    zero, full = (world.render(Seeds(1, 2), shift(knobs, knob, s), size) for s in (0.0, 1.0))
    assert np.array_equal(before.image, zero.image)
    assert not np.array_equal(before.image, full.image)
    assert np.array_equal(before.label_map, full.label_map)


@pytest.mark.parametrize(("name", "preset"), [(n, p) for n, p in NAMED if n != "slices"])
def test_distance_grows_with_strength(name: str, preset: str) -> None:
    world, size = WORLDS[name]
    first, second = first_preset(world), world.presets[preset]
    if first is second:
        return
    distances = np.zeros(4)
    for seed in range(4):
        at = [
            world.render(Seeds(seed, seed), interpolate(first, second, s), size).image for s in (0, 0.25, 0.5, 0.75, 1)
        ]
        assert np.array_equal(at[0], world.render(Seeds(seed, seed), first, size).image)
        distances += [np.sqrt(np.mean((image - at[0]) ** 2)) for image in at[1:]]
    assert (np.diff(distances) > 0).all()
    assert distances[0] > 0


@pytest.mark.parametrize("name", ["ultrasound", "endoscopy", "fundus", "organs"])
def test_all_foreground_classes_are_in_most_images(name: str) -> None:
    world, size = WORLDS[name]
    task = world.task(len(size))
    found = [
        len(np.unique(world.render(Seeds(i, i), first_preset(world), size).label_map)) == task.num_classes
        for i in range(12)
    ]
    assert np.mean(found) >= 0.75


def test_eight_bits() -> None:
    levels = eight_bits(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    np.testing.assert_array_equal(levels, np.array([0, 0, 128, 255, 255], np.float32) / np.float32(255))
