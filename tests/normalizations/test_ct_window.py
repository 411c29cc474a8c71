from __future__ import annotations

from typing import Any

import pytest
import torch

from unshift.config import parse
from unshift.errors import ConfigError
from unshift.normalizations.ct_window import MEMBER, PRESETS
from unshift.sample import Sample


def normalize(hu: list[float], **settings: Any) -> list[float]:
    sample = Sample(torch.tensor(hu).reshape(1, 1, -1), "a", "a", "x")
    return MEMBER(MEMBER.Config(**settings)).views(sample)[0].image.flatten().tolist()


def test_level_50_width_400_shows_minus_150_to_250() -> None:
    assert normalize([-1000.0, -150.0, 50.0, 150.0, 250.0, 3000.0]) == pytest.approx([0, 0, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_their_numbers(name: str) -> None:
    level, width = PRESETS[name]
    hu = torch.linspace(-1100, 2000, 77).tolist()
    assert normalize(hu, preset=name) == normalize(hu, level=level, width=width)
    assert normalize([level], preset=name) == pytest.approx([0.5])


def test_outside_the_field_of_view_is_windowed_too() -> None:
    sample = Sample(torch.full((1, 1, 2), 250.0), "a", "a", "x", field_of_view=torch.tensor([[True, False]]))
    assert MEMBER(MEMBER.Config()).views(sample)[0].image.flatten().tolist() == [1.0, 1.0]


def test_with_ct_only_an_image_without_air_stays_as_it_is() -> None:
    magnetic = [0.0, 30.0, 900.0]
    assert normalize(magnetic, level=0.0, width=700.0, ct_only=True) == magnetic
    assert normalize([-2.5, 3.0], ct_only=True) == [-2.5, 3.0]
    assert normalize([-1000.0, 0.0, 350.0], level=0.0, width=700.0, ct_only=True) == pytest.approx([0, 0.5, 1])
    assert normalize(magnetic, level=0.0, width=700.0) == pytest.approx([0.5, 380 / 700, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "lung", "level": 3.0}, "give one or the other"),
        ({"level": 40.0}, "both are required"),
        ({"level": 40.0, "width": 0.0}, "must be above 0"),
        ({"preset": "kidney"}, "preset"),
    ],
)
def test_contradictory_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(MEMBER.Config, settings, where="recipe.yaml")
