from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.datasets.phantom import WORLDS
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.phantom.quality import LEVELS, QUALITY, QualityShift, degrade, parse, split
from unshift.phantom.vendor import SIMULATORS
from unshift.phantom.world import Seeds

COLOR = [name for name in QUALITY if QUALITY[name].needs_color]
GREY = [name for name in QUALITY if not QUALITY[name].needs_color]


@functools.cache
def throat(patient: int = 3, size: int = 128) -> torch.Tensor:
    world = WORLDS["endoscopy"]()
    return torch.from_numpy(world.render(Seeds(patient, 1), world.presets["clinic"], (size, size)).image)


@functools.cache
def head(size: int = 128) -> torch.Tensor:
    world = WORLDS["ultrasound"]()
    return torch.from_numpy(world.render(Seeds(3, 1), world.presets["A"], (size, size)).image)


def round_field(image: torch.Tensor) -> torch.Tensor:
    rows, columns = (torch.arange(n) - n / 2 for n in image.shape[1:])
    return torch.hypot(rows[:, None], columns[None]) < 0.45 * image.shape[1]


def mean_change(image: torch.Tensor, shift: str, *, seed: int) -> float:
    return float((degrade(image, shift, seed=seed) - image).abs().mean())


def test_the_issue_s_list_is_there() -> None:
    assert {"low_resolution", "motion_blur", "phone", "old_endoscope"} <= set(QUALITY) and len(QUALITY) == 13


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", QUALITY)
def test_the_mean_change_grows_with_each_level(name: str, seed: int) -> None:
    pictures = [throat(patient=seed)] + ([head()] if name in GREY else [])
    for picture in pictures:
        changes = [mean_change(picture, f"{name}@{level}", seed=seed) for level in (0, *LEVELS)]
        assert changes[0] == 0
        assert all(later > 1.05 * earlier for earlier, later in itertools.pairwise(changes)), changes
        assert changes[1] > 0.002, "the weakest can be seen"
        assert changes[-1] < 0.45, "something is left"


@pytest.mark.parametrize("name", QUALITY)
@pytest.mark.parametrize("size", [48, 256])
def test_it_grows_at_other_sizes_too(name: str, size: int) -> None:
    changes = [mean_change(throat(size=size), f"{name}@{level}", seed=5) for level in LEVELS]
    assert changes == sorted(changes) and changes[0] > 0.002


@pytest.mark.parametrize("name", QUALITY)
def test_what_is_seen_can_still_be_recognized(name: str) -> None:
    picture = throat()
    found = degrade(picture, f"{name}@5", seed=1).mean(0).flatten()
    assert float(torch.corrcoef(torch.stack([found, picture.mean(0).flatten()]))[0, 1]) > 0.5


@pytest.mark.parametrize("name", QUALITY)
def test_level_0_is_the_picture_bit_for_bit(name: str) -> None:
    picture = throat(size=32) if name in COLOR else torch.rand(1, 32, 40, dtype=torch.float64)
    assert degrade(picture, f"{name}@0", seed=0) is picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", QUALITY)
def test_nothing_outside_the_field_of_view_changes(name: str, channels: int) -> None:
    picture = throat(size=64)[:channels]
    if channels == 1 and name in COLOR:
        with pytest.raises(DataError, match="has 1 channel; colours can change where there are 3"):
            degrade(picture, f"{name}@3", seed=0)
        return
    seen = round_field(picture)
    found = degrade(picture, f"{name}@5", seed=0, field_of_view=seen)
    assert torch.equal(found[:, ~seen], picture[:, ~seen])
    assert not torch.equal(found[:, seen], picture[:, seen])
    assert found.shape == picture.shape and found.dtype == torch.float32
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_the_field_of_view_is_found_where_it_is_not_given() -> None:
    picture = throat(size=96)
    seen = round_field(picture)
    picture = picture * seen
    found = degrade(picture, "lens_haze@5", seed=0)
    assert float(found[:, ~seen].max()) == 0 and float(found[:, seen].mean()) > float(picture[:, seen].mean()) + 0.03
    black = torch.zeros(3, 20, 20)
    assert torch.equal(degrade(black, "lens_haze@5", seed=0), black)
    assert torch.equal(degrade(picture, "phone@5", seed=0, field_of_view=torch.zeros(96, 96, dtype=bool)), picture)


@pytest.mark.parametrize("name", ["sensor_noise", "motion_blur", "lens_haze", "color_cast", "phone", "old_endoscope"])
def test_the_seed_alone_decides_what_is_drawn(name: str) -> None:
    picture = throat(size=48)
    first = degrade(picture, f"{name}@3", seed=5)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert torch.equal(degrade(picture, f"{name}@3", seed=5), first)
    assert any(not torch.equal(degrade(picture, f"{name}@3", seed=seed), first) for seed in range(6, 12))


def test_a_seed_draws_the_same_noise_at_every_level() -> None:
    picture = torch.full((3, 64, 64), 0.5)
    changes = [degrade(picture, f"sensor_noise@{level}", seed=2) - picture for level in (1, 2)]
    torch.testing.assert_close(changes[0] / 0.04, changes[1] / 0.07, atol=1e-4, rtol=1e-3)


def test_shifts_are_joined_from_left_to_right_with_draws_of_their_own() -> None:
    picture = torch.full((1, 64, 64), 0.5)
    twice = degrade(picture, "sensor_noise@2+sensor_noise@2", seed=2) - picture
    assert float(twice.std()) == pytest.approx(0.07 * 0.625**0.5 * 2**0.5, rel=0.05), "two noises, not one doubled"
    both = degrade(throat(size=64), "underexposure@3+overexposure@3", seed=0)
    torch.testing.assert_close(
        both, degrade(degrade(throat(size=64), "underexposure@3", seed=0), "overexposure@3", seed=0)
    )


@pytest.mark.parametrize("name", [n for n in GREY if n not in ("jpeg_compression", "phone", "old_endoscope")])
def test_16_bit_pictures_keep_their_grey_levels(name: str) -> None:
    """A ramp that 8 bits would show in three steps stays a ramp."""
    ramp = torch.linspace(0.500, 0.508, 64 * 64).view(1, 64, 64)
    assert degrade(ramp, f"{name}@1", seed=0).unique().numel() > 500


def test_presets_are_for_grey_pictures_too() -> None:
    picture = head(size=64)
    for name in ("phone", "old_endoscope"):
        found = degrade(picture, f"{name}@4", seed=0)
        assert found.shape == (1, 64, 64) and not torch.equal(found, picture)
    repeated = degrade(picture.expand(3, -1, -1), "phone@3", seed=0)
    assert repeated.shape == (3, 64, 64)


def test_the_old_endoscope_is_dim_pale_and_yellow_and_the_phone_bright_and_cold() -> None:
    picture = throat()
    saturation = lambda x: float((x.amax(0) - x.amin(0)).mean() / x.mean())  # noqa: E731
    old, phone = degrade(picture, "old_endoscope@3", seed=0), degrade(picture, "phone@3", seed=0)
    assert float(old.mean()) < 0.9 * float(picture.mean()) < 0.95 * float(phone.mean())
    assert saturation(old) < saturation(picture)
    ratio = [float(x[2].mean() / x[1].mean()) for x in (old, picture, phone)]
    assert ratio == sorted(ratio), "blue to green"


@pytest.mark.parametrize("level", [0, *LEVELS])
@pytest.mark.parametrize("name", QUALITY)
def test_every_name_at_every_level_is_read(name: str, level: int) -> None:
    (shift,) = parse(f"{name}@{level}")
    assert shift == QualityShift(name, level) and str(shift) == f"{name}@{level}"
    assert len(shift.steps) == (len(QUALITY[name].steps) if level else 0)
    assert all(amount == QUALITY[name].steps[i].amounts[level - 1] for i, (_, amount) in enumerate(shift.steps))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(list(QUALITY)), st.sampled_from(LEVELS)), max_size=4))
def test_a_domain_is_cut_where_its_quality_shifts_begin(chosen: list[tuple[str, int]]) -> None:
    shifts = tuple(QualityShift(*each) for each in chosen)
    text = "".join(f"+{shift}" for shift in shifts)
    assert split(f"A+B@0.33+gain@1{text}", ("B", "gain"), where="x") == ("A+B@0.33+gain@1", shifts)
    assert split(f"{text}", ("B",), where="x") == ("", shifts)
    if shifts:
        assert parse(text[1:]) == shifts


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("phone@6", ConfigError, r"'phone': the level is 6; a whole number from 1 \(weakest\) to 5.*Write 'phone@3'"),
        ("phone@2.5", ConfigError, "the level is 2.5; a whole number"),
        ("phone@0.5", ConfigError, "the level is 0.5; a whole number.*Strengths from 0 to 1 belong to knobs"),
        ("phone@-1", ConfigError, "the level is -1"),
        ("phone", ConfigError, "the level is missing"),
        ("phone@", ConfigError, "the level is missing"),
        ("phone@2+motion_blur@7", ConfigError, "'motion_blur': the level is 7"),
        ("old_endoskope@3", UnknownName, "unknown quality shift 'old_endoskope'. Did you mean 'old_endoscope'"),
        ("", UnknownName, "Known: color_cast, dark_corners"),
    ],
)
def test_wrong_shifts_say_what_to_do(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        degrade(throat(size=32), text, seed=0)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("A+phone@6", ConfigError, r"domain 'A\+phone@6': Quality shift 'phone': the level is 6"),
        ("A+fone@2", UnknownName, r"domain 'A\+fone@2': unknown knob or preset or quality shift 'fone'.*'phone'"),
        ("A+phone@2+gain@0.5", ConfigError, "'gain@0.5' stands behind the quality shift 'phone@2'.*Write them last"),
    ],
)
def test_wrong_domains_say_what_to_do(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(text, ("B", "gain"), where=text)


@pytest.mark.parametrize("level", [6, -1, 2.5, True, "3"])
def test_levels_are_whole_numbers(level: object) -> None:
    with pytest.raises(ConfigError, match="a whole number from 1"):
        QualityShift("phone", level)  # type: ignore[arg-type]


def test_one_name_alone_is_also_a_preset_and_none_is_a_knob() -> None:
    """The rule of the docs: the name decides what the number means; ``phone`` of the endoscopy world is the exception."""
    taken = {
        w: {*world.presets, *type(world.presets[next(iter(world.presets))]).model_fields} for w, world in WORLDS.items()
    }
    taken |= {s: {*machine.presets, *type(machine.neutral).model_fields} for s, machine in SIMULATORS.items()}
    assert {(place, name) for place, names in taken.items() for name in names & set(QUALITY)} == {
        ("endoscopy", "phone")
    }


def test_a_name_that_is_also_a_preset_is_never_ambiguous() -> None:
    own = ("clinic", "phone")
    for amount in ("0.5", "1.0", "0", "0.0"):
        assert split(f"clinic+phone@{amount}", own, where="x") == (f"clinic+phone@{amount}", ())
    for level in (2, 3, 4, 5):
        assert split(f"clinic+phone@{level}", own, where="x") == ("clinic", (QualityShift("phone", level),))
    with pytest.raises(ConfigError, match=r"'phone@1' could be either. Write 'phone@1.0' for the whole way"):
        split("clinic+phone@1", own, where="clinic+phone@1")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 4, 16, 16), "the image is 3×4×16×16.*slice by slice"),
        (torch.rand(2, 16, 16), "the image is 2×16×16"),
        (torch.full((1, 16, 16), 700.0), "intensities span 700 … 700; real numbers in .0, 1. are required"),
        (torch.full((1, 16, 16), float("nan")), "nan"),
        (torch.zeros((1, 16, 16), dtype=torch.uint8), "torch.uint8 intensities"),
    ],
)
def test_what_is_no_picture_is_refused(image: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        degrade(image, "phone@1", seed=0)
