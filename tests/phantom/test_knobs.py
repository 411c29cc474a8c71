from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.errors import ConfigError, UnknownName
from unshift.phantom.camera import CameraKnobs
from unshift.phantom.endoscopy import PRESETS as CAMERAS
from unshift.phantom.fundus import PRESETS as FUNDUS
from unshift.phantom.knobs import Knobs, extreme, interpolate, knob, override, parse_domain, shift
from unshift.phantom.organs import PRESETS as SITES
from unshift.phantom.organs import OrganKnobs
from unshift.phantom.ultrasound import PRESETS, UltrasoundKnobs

KINDS = (UltrasoundKnobs, CameraKnobs, OrganKnobs)
NAMED = [(p, n) for p in (PRESETS, CAMERAS, FUNDUS, SITES) for n in p]


class Toy(Knobs):
    gain: float = knob(0.0, 10.0, "dB", at_least=-5.0)
    pair: tuple[float, float] = knob((1.0, 1.0), (2.0, 0.0), "factors")


TOYS = {"A": Toy(), "B": Toy(gain=4.0, pair=(3.0, 1.0))}


@pytest.mark.parametrize("kind", KINDS)
def test_every_knob_is_documented_and_its_extreme_differs_and_is_allowed(kind: type[Knobs]) -> None:
    for name, field in kind.model_fields.items():
        assert field.description
        assert extreme(kind, name) != field.default
        kind(**{name: extreme(kind, name)})


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_a_row_for_every_knob(kind: type[Knobs]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "phantom.md").read_text(encoding="utf-8")
    for name, field in kind.model_fields.items():
        is_long = isinstance(field.default, tuple) and len(field.default) > 5
        values = ["see below"] * 2 if is_long else [str(field.default), str(extreme(kind, name))]
        assert f"| `{name}` | {values[0]} | {values[1]} | {field.description} |" in page


@pytest.mark.parametrize(("presets", "name"), NAMED)
def test_presets_parse_and_differ(presets, name: str) -> None:
    assert parse_domain(name, presets) is presets[name]
    assert sum(presets[name] == other for other in presets.values()) == 1


def test_interpolation_is_linear_and_exact_at_its_ends() -> None:
    a, b = TOYS["A"], TOYS["B"]
    assert interpolate(a, b, 0.0) is a
    assert interpolate(a, b, 1.0) is b
    assert interpolate(a, b, 0.25) == Toy(gain=1.0, pair=(1.5, 1.0))


def test_shift_moves_one_knob_to_its_extreme() -> None:
    assert shift(TOYS["B"], "gain", 0.5) == Toy(gain=7.0, pair=(3.0, 1.0))
    assert shift(TOYS["B"], "pair", 1.0) == Toy(gain=4.0, pair=(2.0, 0.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", Toy()),
        ("A+gain@0", Toy()),
        ("A+gain@0.5", Toy(gain=5.0)),
        ("A+gain@0.5+pair@1", Toy(gain=5.0, pair=(2.0, 0.0))),
        ("A+B@0.5", Toy(gain=2.0, pair=(2.0, 1.0))),
        ("A+B@0.5+gain@0.5", Toy(gain=6.0, pair=(2.0, 1.0))),
        ("B+gain@1e-1", Toy(gain=4.6, pair=(3.0, 1.0))),
    ],
)
def test_grammar(text: str, expected: Toy) -> None:
    assert parse_domain(text, TOYS) == expected


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_stronger_shift_is_never_nearer(one: float, other: float) -> None:
    weak, strong = sorted((one, other))
    a, b = PRESETS["A"], PRESETS["B"]

    def distance(strength: float) -> float:
        return abs(interpolate(a, b, strength).speckle_size - a.speckle_size)

    assert distance(weak) <= distance(strong)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Z", UnknownName, "unknown domain 'Z'"),
        ("", UnknownName, "unknown domain ''"),
        ("Z+gain@1", UnknownName, r"domain 'Z\+gain@1'"),
        ("A+gan@1", UnknownName, "Did you mean 'gain'"),
        ("A+gain", ConfigError, "no readable strength"),
        ("A+gain@", ConfigError, "no readable strength"),
        ("A+gain@much", ConfigError, "no readable strength"),
        ("A+gain@1.5", ConfigError, "strength is 1.5; a number from 0 to 1"),
        ("A+gain@-0.5", ConfigError, "strength is -0.5"),
        ("A+gain@nan", ConfigError, "strength is nan"),
        ("A++gain@1", ConfigError, "no readable strength"),
    ],
)
def test_errors_of_the_grammar(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_domain(text, TOYS)


def test_overrides() -> None:
    assert override(Toy(), {"gain": 3.0, "pair": [0.5, 0.5]}, where="recipe") == Toy(gain=3.0, pair=(0.5, 0.5))
    with pytest.raises(UnknownName, match="recipe: unknown knob 'gian'"):
        override(Toy(), {"gian": 3.0}, where="recipe")
    with pytest.raises(ConfigError, match=r"recipe: gain is -9\.0\. .*greater than or equal to -5"):
        override(Toy(), {"gain": -9.0}, where="recipe")
    with pytest.raises(UnknownName, match="unknown knob"):
        shift(Toy(), "gian", 1.0)
    with pytest.raises(ConfigError, match="strength is 2"):
        interpolate(Toy(), Toy(), 2.0)
