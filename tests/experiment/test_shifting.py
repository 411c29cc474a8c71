"""Simulated shifts of any intensities and axes: against the simulator itself, and what must stay."""

from __future__ import annotations

import pytest
import torch

from robust_models import picture
from unshift.errors import ConfigError, UnknownName
from unshift.experiment.shifting import describe, pick_kind, shifted, simulated_shifts
from unshift.phantom.vendor import simulate, simulator
from unshift.randomness import derive
from unshift.sample import Sample


def sample(image: torch.Tensor | None = None, case: str = "c") -> Sample:
    found = picture(0)[0] if image is None else image
    return Sample(found, case, case, "source")


def test_every_preset_at_every_strength_weakest_first() -> None:
    found = simulated_shifts("ultrasound", (1.0, 0.5))
    assert [s.name for s in found] == ["B@0.5", "B@1", "C@0.5", "C@1", "D@0.5", "D@1"]
    assert found[1].knobs == simulator("ultrasound").presets["B"]


@pytest.mark.parametrize("strengths", [(), (0.0,), (1.2,), (0.5, 0.5)])
def test_strengths_that_are_none(strengths: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        simulated_shifts("ultrasound", strengths)


def test_an_unknown_simulator() -> None:
    with pytest.raises(UnknownName, match="ultrasound"):
        simulated_shifts("ultrasond", (1.0,))


def test_pictures_in_the_unit_interval_are_given_to_the_simulator_as_they_are() -> None:
    shift, given = simulated_shifts("ultrasound", (1.0,))[0], sample()
    expected = simulate(given.image, "ultrasound", shift.knobs, seed=derive(3, "robustify", "shift", "c"))
    found = shifted(given, shift, seed=3)
    assert torch.equal(found.image, expected)
    assert (found.domain, found.case) == ("B@1", "c")
    assert not torch.equal(found.image, given.image)


def test_other_units_are_scaled_there_and_back() -> None:
    shift, image = simulated_shifts("ultrasound", (1.0,))[0], picture(0)[0]
    low, high = torch.quantile(image.double(), torch.tensor([0.01, 0.99], dtype=torch.float64))
    unit = ((image - low) / (high - low)).clamp(0, 1).float()
    expected = simulate(unit, "ultrasound", shift.knobs, seed=derive(0, "robustify", "shift", "c"))
    found = shifted(sample(1000 * image - 200), shift)
    scaled = (found.image + 200) / 1000
    torch.testing.assert_close((scaled - low.float()) / (high - low).float(), expected, atol=0.02, rtol=0)


def test_a_volume_is_shifted_slice_by_slice() -> None:
    shift, flat = simulated_shifts("ultrasound", (1.0,))[0], picture(0)[0]
    volume = sample(torch.stack([flat, flat], dim=1))
    found = shifted(volume, shift).image
    own = derive(0, "robustify", "shift", "c")
    for index in range(2):
        expected = simulate(flat, "ultrasound", shift.knobs, seed=derive(own, index))
        assert torch.equal(found[:, index], expected)


def test_a_constant_image_stays_finite() -> None:
    shift = simulated_shifts("ultrasound", (1.0,))[0]
    assert torch.isfinite(shifted(sample(torch.full((1, 16, 16), 7.0)), shift).image).all()


def test_the_kind_is_told_by_colour() -> None:
    grey = sample()
    repeated = sample(grey.image.repeat(3, 1, 1))
    colored = sample(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert pick_kind([grey]) == pick_kind([repeated]) == "ultrasound"
    assert pick_kind([repeated, colored]) == "photo"


def test_what_is_not_simulated_is_said() -> None:
    assert "MR or CT" not in describe("ultrasound", [sample()])
    assert "MR or CT" in describe("ultrasound", [sample(100 * picture(0)[0])])
