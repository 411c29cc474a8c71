from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unshift.errors import ConfigError, DataError, UnknownName
from unshift.phantom.vendor import SIMULATORS, ScannerKnobs, lit, simulate, simulator

KINDS = tuple(SIMULATORS)


def picture(kind: str, size: tuple[int, int] = (64, 80), seed: int = 0) -> torch.Tensor:
    """Smooth tissue with an organ, black beyond a sector's right side, in 256 levels."""
    random = np.random.default_rng(seed)
    channels = simulator(kind).channels or 1
    tissue = np.stack([ndimage.gaussian_filter(random.standard_normal(size), 2) for _ in range(channels)])
    image = np.clip(0.35 + 0.6 * tissue, 0.05, 0.95)
    y, x = np.mgrid[: size[0], : size[1]]
    image[:, (y - 32) ** 2 + (x - 32) ** 2 < 150] *= 0.5
    image[:, np.broadcast_to(x > 50 + y / 4, size)] = 0
    return torch.from_numpy((np.round(image * 255) / 255).astype(np.float32))


def scanner(**knobs: object) -> ScannerKnobs:
    return ScannerKnobs(**knobs)


def scanned(image: torch.Tensor, **knobs: object) -> torch.Tensor:
    return simulate(image, "ultrasound", scanner(**knobs), seed=0)


@pytest.mark.parametrize("shifts", ["", "+B@0", "+C@0+D@0", "+gain@0"])
@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_is_bit_identical(kind: str, shifts: str) -> None:
    image = picture(kind)
    if "gain" in shifts and kind == "photo":
        shifts = "+gamma@0"
    assert torch.equal(simulate(image, kind, simulator(kind).knobs(shifts), seed=3), image)


@pytest.mark.parametrize("preset", ["B", "C", "D"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shift_grows_with_the_strength(kind: str, preset: str) -> None:
    image, machine = picture(kind), simulator(kind)
    distances = [
        float((simulate(image, kind, machine.knobs(f"+{preset}@{s}"), seed=1) - image).square().mean().sqrt())
        for s in (0.02, 0.33, 0.67, 1)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.02, "it begins at the picture"
    assert distances[-1] > 0.06


@pytest.mark.parametrize("preset", ["B", "C", "D"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_seen_stays_where_it_is(kind: str, preset: str) -> None:
    """Black outside, 256 levels, and the picture's structure still correlates with the original's."""
    image = picture(kind)
    found = simulate(image, kind, simulator(kind).knobs(f"+{preset}@1"), seed=2)
    assert found.shape == image.shape and found.dtype == torch.float32
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    outside = torch.from_numpy(~lit(image.numpy()))
    assert outside[:, -1].all() and bool((found[:, outside] == 0).all())
    torch.testing.assert_close(found * 255, (found * 255).round(), atol=1e-3, rtol=0)
    smooth = [ndimage.gaussian_filter(x.mean(0).numpy(), 2)[~outside.numpy()] for x in (image, found)]
    assert np.corrcoef(*smooth)[0, 1] > 0.35


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_decide_and_strengths_share_them(kind: str) -> None:
    image, knobs = picture(kind), simulator(kind).knobs("+D@1")
    first = simulate(image, kind, knobs, seed=5)
    torch.manual_seed(3)
    assert torch.equal(first, simulate(image, kind, knobs, seed=5))
    assert not torch.equal(first, simulate(image, kind, knobs, seed=6))


def test_one_seed_draws_one_speckle_at_every_strength() -> None:
    image = torch.full((1, 48, 48), 0.5)
    weak, strong = (scanned(image, speckle=s)[0].flatten() - 0.5 for s in (0.4, 0.8))
    assert float(torch.corrcoef(torch.stack([weak, strong]))[0, 1]) > 0.98
    assert float(strong.std() / weak.std()) == pytest.approx(2, rel=0.05)


def test_gain_and_dynamic_range_by_hand() -> None:
    image = torch.tensor([0.2, 0.5, 0.8, 1.0]).repeat(1, 8, 8)
    expected = 1 + (60 * (image - 1) + 6) / 45
    torch.testing.assert_close(
        scanned(image, gain=6.0, dynamic_range=45.0), expected.clamp(0, 1), atol=0.5 / 255 + 1e-3, rtol=0
    )


def test_gain_compensation_and_attenuation_follow_the_depth() -> None:
    image = torch.full((1, 101, 11), 0.5)
    middle = scanned(image, tgc=(6.0, 3.0, 0.0, -6.0, -12.0))[0, :, 5]
    for row, decibels in ((0, 6.0), (25, 3.0), (50, 0.0), (75, -6.0), (100, -12.0)):
        assert float(middle[row]) == pytest.approx(0.5 + decibels / 60, abs=0.02)
    lost = 0.5 - scanned(image, attenuation=12.0)[0, :, 5]
    assert float(lost[0]) == pytest.approx(0, abs=0.01) and float(lost[-1]) == pytest.approx(0.2, abs=0.01)


def test_speckle_has_the_deviation_of_a_rayleigh_envelope() -> None:
    image = torch.full((1, 300, 300), 0.5)
    decibels = 60 * (scanned(image, speckle=1.0, speckle_size=0.5) - 0.5)
    envelope = np.random.default_rng(0).rayleigh(size=300_000)
    assert float(decibels.std()) == pytest.approx(float((20 * np.log10(envelope)).std()), rel=0.06)
    fine, coarse = (scanned(image, speckle=1.0, speckle_size=s)[0].numpy() for s in (1.0, 3.0))
    grain = [np.corrcoef(x[:, 3:].ravel(), x[:, :-3].ravel())[0, 1] for x in (fine, coarse)]
    assert grain[1] > grain[0] + 0.1


def test_noise_fills_what_is_black_inside_and_gain_brings_it_up() -> None:
    image = torch.full((1, 64, 64), 0.01)
    quiet, noisy, loud = (scanned(image, **k).mean() for k in ({"gain": 6.0}, {"noise": -55.0}, {"noise": -55.0, "gain": 6.0}))  # fmt: skip
    assert float(quiet) == pytest.approx(0.01 + 6 / 60, abs=0.01)
    assert float(noisy) > 0.08 and float(loud) == pytest.approx(float(noisy) + 0.1, abs=0.02)


def test_shadows_darken_some_beams_only() -> None:
    image = torch.full((1, 120, 120), 0.6)
    bottom = scanned(image, shadow=1.0)[0, -1]
    assert float(bottom.min()) < 0.35 and float(bottom.max()) == pytest.approx(0.6, abs=0.01)
    assert float(scanned(image, shadow=1.0)[0, 0].min()) == pytest.approx(0.6, abs=0.05), "they begin below the probe"


def test_blur_and_edges_do_not_mix_with_the_black_outside() -> None:
    image = torch.full((1, 60, 60), 0.5)
    image[..., 40:] = 0
    inside = torch.from_numpy(lit(image.numpy()))
    for knobs in ({"blur": 0.03}, {"edges": 1.5}):
        found = scanned(image, **knobs)[0]
        torch.testing.assert_close(found[inside], torch.full_like(found[inside], 0.5), atol=2 / 255, rtol=0)
    stripes = 0.5 + 0.2 * (torch.arange(60) // 4 % 2).float().repeat(1, 60, 1)
    assert (
        float(scanned(stripes, blur=0.03).std()) < 0.6 * float(stripes.std()) < float(scanned(stripes, edges=1.5).std())
    )


def test_the_grey_map_keeps_both_ends() -> None:
    image = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).clamp_min(0.002).repeat(1, 9, 1)
    values = scanned(image, grey_map=1.0)[0, 0]
    expected = [0.0, 0.25**2 * 2.5, 0.5, 0.75**2 * 1.5, 1.0]
    assert values.tolist() == pytest.approx(expected, abs=0.006)


def test_lit_finds_the_black_background() -> None:
    image = np.full((1, 60, 60), 0.4, np.float32)
    image[:, :, :15] = 0.001  # background
    image[:, 20:40, 30:50] = 0  # a black organ inside
    image[:, 58, 20:] = 0  # a thin line at the border
    found = lit(image)
    assert not found[:, :15].any() and found[:, 15:].all()
    image[:, :, 15:18] = 10 / 255  # what JPEG leaves
    assert lit(image)[:, 15:18].all() and not lit(image, fringe=6)[:, 15:18].any()
    assert lit(image, fringe=6)[:, 18:].all()


def test_a_given_field_of_view_is_kept_to() -> None:
    image = picture("ultrasound")
    field = torch.zeros(64, 80, dtype=torch.bool)
    field[10:30, 10:30] = True
    found = simulate(image, "ultrasound", scanner(gain=9.0), seed=0, field_of_view=field)
    assert torch.equal(found[:, ~field], image[:, ~field]) and bool((found[:, field] > image[:, field]).all())
    black = torch.zeros(1, 20, 20)
    assert torch.equal(simulate(black, "ultrasound", scanner(gain=9.0), seed=0), black), "nothing is seen"


def test_wide_photographs_are_not_cut() -> None:
    image = picture("photo", (64, 200))
    image[image == 0] = 0.5
    found = simulate(image, "photo", simulator("photo").knobs("+gamma@0.1"), seed=0)
    assert float(found.min()) > 0
    assert float(simulate(image, "photo", simulator("photo").knobs("+aperture@1"), seed=0)[:, 0, 0].max()) == 0


def test_white_balance_and_gamma_by_hand() -> None:
    image, knobs = picture("photo"), simulator("photo").neutral
    found = simulate(image, "photo", knobs.model_copy(update={"white_balance": (1.2, 1.0, 0.5), "gamma": 2.0}), seed=0)
    expected = (image * torch.tensor([1.2, 1.0, 0.5]).view(3, 1, 1)).clamp(0, 1) ** 2
    torch.testing.assert_close(found, expected, atol=0.5 / 255 + 1e-5, rtol=0)


def test_names_of_shifts() -> None:
    machine = simulator("ultrasound")
    assert machine.knobs("+B@1") == machine.presets["B"] and machine.knobs("") == machine.neutral
    assert machine.knobs("+gain@0.5").gain == pytest.approx(6)
    half = machine.knobs("+B@0.5")
    assert half.dynamic_range == pytest.approx((60 + machine.presets["B"].dynamic_range) / 2)
    with pytest.raises(UnknownName, match=r"domain 'HC18\+gian@1': unknown knob or preset 'gian'.*gain"):
        machine.knobs("+gian@1", of="HC18")
    with pytest.raises(ConfigError, match=r"Domain 'original\+B': .*no readable strength"):
        machine.knobs("+B", of="B")
    with pytest.raises(UnknownName, match="unknown simulator 'sonar'"):
        simulator("sonar")


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (torch.zeros(1, 4, 8, 8), "ultrasound", "3 axes; pictures of 2 are simulated"),
        (torch.zeros(1, 8, 8), "photo", r"1 channel\(s\); 3 are required"),
        (torch.full((1, 8, 8), 1.5), "ultrasound", r"span 1.5 … 1.5; pictures in \[0, 1\]"),
        (torch.full((1, 8, 8), float("nan")), "ultrasound", "span nan"),
    ],
)
def test_what_cannot_be_simulated(image: torch.Tensor, kind: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        simulate(image, kind, simulator(kind).knobs("+B@1"), seed=0)
