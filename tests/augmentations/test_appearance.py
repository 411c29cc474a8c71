from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from unshift.augmentations.appearance import Appearance, Config
from unshift.errors import DataError

RANGES = ("gain", "contrast", "brightness", "gamma", "compression", "ramp", "blur", "sharpening", "grain", "noise", "cast", "saturation")  # fmt: skip
STILL = {**dict.fromkeys(RANGES, 0.0), "untouched": 0.0, "probability": 1.0, "black": 0.0}


def only(**ranges: float) -> Appearance:
    return Appearance(Config(**{**STILL, **ranges}))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middle(*shape: int) -> torch.Tensor:
    return 0.45 + 0.1 * torch.rand(*shape, generator=generator(9))


def shift(member: Appearance, images: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    parameters = member.draw(generator(seed), images)
    return member.apply(images, parameters), parameters


@pytest.mark.parametrize("intensities", ["unit", "image"])
@pytest.mark.parametrize("still", [{"strength": 0.0}, {"untouched": 1.0}])
def test_strength_0_and_untouched_images_are_bit_identical(still: dict, intensities: str) -> None:
    images = torch.rand(6, 3, 9, 8) * 1.04 if intensities == "unit" else 100 * torch.randn(6, 1, 9, 8)
    found, _ = shift(Appearance(Config(**still, intensities=intensities)), images)
    assert torch.equal(found, images)


def test_the_share_of_untouched_images() -> None:
    images = torch.rand(400, 1, 8, 8, generator=generator(1))
    found, parameters = shift(Appearance(Config(untouched=0.3)), images)
    same = (found == images).flatten(1).all(1)
    assert bool(same[~parameters["touched"]].all())
    assert int((~parameters["touched"]).sum()) == pytest.approx(120, abs=5 * math.sqrt(400 * 0.3 * 0.7))
    assert int(same.sum()) < 150, "touched images do change"


@given(strength=st.floats(0, 1), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_strength_scales_every_range(strength: float, seed: int) -> None:
    c = Config(strength=strength)
    p = Appearance(c).draw(generator(seed), torch.zeros(5, 3, 12, 10))
    slack = 1 + 1e-4
    for name, most in (("gain", c.gain), ("contrast", c.contrast), ("gamma", c.gamma), ("cast", c.cast)):
        assert float(p[name].log2().abs().max()) <= strength * most * slack + 1e-6
    for name, most in (("brightness", c.brightness), ("sharpening", c.sharpening), ("compression", c.compression), ("slope", c.ramp)):  # fmt: skip
        assert float(p[name].abs().max()) <= strength * most * slack + 1e-6
    assert float((p["saturation"] - 1).abs().max()) <= strength * slack + 1e-6
    assert float(p["blur"].max()) <= strength * c.blur * 10 * slack + 1e-6


def test_probability_decides_who_draws_a_step() -> None:
    p = Appearance(Config(probability=0.25)).draw(generator(), torch.zeros(2000, 1, 1, 1))
    for name, neutral in (("gain", 1), ("gamma", 1), ("brightness", 0), ("slope", 0)):
        assert int((p[name] != neutral).sum()) == pytest.approx(500, abs=5 * math.sqrt(2000 * 0.25 * 0.75))


@pytest.mark.parametrize("deviation", [0.6, 1.7, 3.0])
def test_blur_against_scipy(deviation: float) -> None:
    images = torch.rand(2, 3, 100, 100, generator=generator(2))
    member = only(blur=0.03)
    parameters = member.draw(generator(), images) | {"blur": torch.full((2,), deviation)}
    expected = ndimage.gaussian_filter(images.double().numpy(), (0, 0, deviation, deviation), mode="nearest", radius=9)
    np.testing.assert_allclose(member.apply(images, parameters).numpy(), expected, atol=1e-5)


def test_sharpening_adds_what_a_blur_of_one_pixel_takes_away() -> None:
    images = middle(2, 1, 40, 40)
    found, parameters = shift(only(sharpening=1.0), images)
    smooth = ndimage.gaussian_filter(images.double().numpy(), (0, 0, 1, 1), mode="nearest", radius=3)
    share = parameters["sharpening"].double().numpy()[:, None, None, None]
    np.testing.assert_allclose(found.numpy(), images.numpy() + share * (images.numpy() - smooth), atol=1e-5)


def test_gain_contrast_brightness_and_gamma_by_hand() -> None:
    images = middle(50, 1, 6, 6)
    found, p = shift(only(gain=0.3, contrast=0.5, brightness=0.1, gamma=1.0), images)
    for image, result, gain, contrast, brightness, gamma in zip(
        images.double(), found, p["gain"], p["contrast"], p["brightness"], p["gamma"], strict=True
    ):
        x = image * float(gain)
        expected = ((x - x.mean()) * float(contrast) + x.mean() + float(brightness)).clamp(0, 1) ** float(gamma)
        torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)
    assert float(p["gamma"].min()) < 0.7 and float(p["gamma"].max()) > 1.4, "both directions"


def test_compression_brightens_the_dark_and_keeps_the_ends() -> None:
    images = torch.linspace(0, 1, 11).view(1, 1, 1, 11)
    member = only(compression=20.0)
    parameters = member.draw(generator(), images) | {"compression": torch.tensor([9.0])}
    expected = torch.log10(1 + 9 * images)
    torch.testing.assert_close(member.apply(images, parameters), expected)


def test_the_ramp_is_steepest_along_its_angle() -> None:
    images = torch.full((40, 1, 21, 21), 0.25)
    member = only(ramp=1.0)
    parameters = member.draw(generator(), images)
    found = member.apply(images, parameters)
    for image, angle, slope, bend in zip(found[:, 0], *(parameters[n] for n in ("angle", "slope", "bend")), strict=True):  # fmt: skip
        factor = (image / 0.25).log2()
        size = abs(math.sin(angle)) + abs(math.cos(angle))
        for y, x in ((-1, -1), (-1, 1), (1, 1), (0, 0), (0, 1)):
            t = (math.sin(angle) * y + math.cos(angle) * x) / size
            exponent = float(slope) * (t + float(bend) * (t * t - 1))
            assert float(factor[10 + 10 * y, 10 + 10 * x]) == pytest.approx(exponent, abs=2e-4)


def test_grain_grows_with_the_signal_and_noise_does_not() -> None:
    images = torch.cat([torch.full((20, 1, 32, 64), 0.2), torch.full((20, 1, 32, 64), 0.6)], dim=-2)
    for settings_, factor in (({"grain": 0.2}, 3.0), ({"noise": 0.05}, 1.0)):
        found, p = shift(only(**settings_), images)
        dark, bright = (found[:, 0, rows].flatten(1).std(1) for rows in (slice(0, 32), slice(32, 64)))
        strong = p[next(iter(settings_))].flatten(1).std(1) > 0.01
        assert float((bright / dark)[strong].mean()) == pytest.approx(factor, rel=0.1)


def test_grain_has_one_or_three_pixels_and_the_same_deviation() -> None:
    p = only(grain=0.3).draw(generator(3), torch.zeros(200, 1, 64, 64))["grain"][:, 0]
    deviation = p.flatten(1).std(1)
    neighbours = (p[..., 1:] * p[..., :-1]).flatten(1).mean(1) / deviation**2
    coarse = neighbours > 0.3
    assert 60 < int(coarse.sum()) < 140
    assert float(neighbours[coarse].mean()) == pytest.approx(2 / 3, abs=0.03)
    assert float(neighbours[~coarse].mean()) == pytest.approx(0, abs=0.03)
    assert float(deviation[coarse].mean()) == pytest.approx(float(deviation[~coarse].mean()), rel=0.2)


def test_colour_changes_three_channels_alone() -> None:
    for channels in (1, 2, 3, 4):
        images = middle(30, channels, 5, 5)
        found, p = shift(only(cast=0.5, saturation=1.0), images)
        if channels != 3:
            torch.testing.assert_close(found, images)
            continue
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        grey = (images * weights).sum(1, keepdim=True)
        expected = (grey + (images - grey) * p["saturation"].view(-1, 1, 1, 1)) * p["cast"].view(-1, 3, 1, 1)
        torch.testing.assert_close(found, expected.clamp(0, 1))
        assert float(p["cast"].std(dim=1).mean()) > 0.05


def test_black_stays_black_where_it_was_drawn() -> None:
    images = middle(60, 1, 16, 16)
    images[..., :4, :] = 0
    member = Appearance(Config(black=0.5, untouched=0, brightness=0.3, probability=1))
    parameters = member.draw(generator(), images)
    found = member.apply(images, parameters)[:, 0, :4]
    kept = (found == 0).flatten(1).all(1)
    assert bool(kept[parameters["black"]].all())
    assert 0 < int(parameters["black"].sum()) < 60 and not bool(kept[~parameters["black"]].all())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_results_stay_in_the_unit_range(seed: int) -> None:
    images = torch.rand(8, 3, 24, 24, generator=generator(seed))
    found, _ = shift(Appearance(Config()), images, seed)
    assert float(found.min()) >= 0 and float(found.max()) <= 1 and bool(found.isfinite().all())


def test_intensities_of_the_image_follow_any_scale() -> None:
    images = torch.rand(16, 1, 12, 12, generator=generator(4))
    member = Appearance(Config(intensities="image"))
    parameters = member.draw(generator(), images)
    torch.testing.assert_close(
        member.apply(300 * images - 1000, parameters), 300 * member.apply(images, parameters) - 1000, atol=0.1, rtol=0
    )
    assert bool(member.apply(torch.full((16, 1, 12, 12), -7.0), parameters).isfinite().all())


def test_volumes_get_one_draw_and_are_filtered_in_plane() -> None:
    volume = torch.rand(2, 1, 3, 20, 20, generator=generator(5))
    member = only(blur=0.1, ramp=1.0)
    parameters = member.draw(generator(), volume)
    for index in range(3):
        expected = member.apply(volume[:, :, index], {**parameters, "grain": parameters["grain"][:, :, index], "noise": parameters["noise"][:, :, index]})  # fmt: skip
        torch.testing.assert_close(member.apply(volume, parameters)[:, :, index], expected)


def test_other_intensities_are_an_error() -> None:
    member, images = Appearance(Config(untouched=0)), torch.randn(2, 1, 8, 8, generator=generator(1))
    with pytest.raises(DataError, match=r"intensities span .* images in \[0, 1\] are required.*intensities: image"):
        member.apply(images, member.draw(generator(), images))


@pytest.mark.parametrize("wrong", [{"strength": 1.1}, {"untouched": -0.1}, {"gain": -1.0}, {"saturation": 2.0}])
def test_impossible_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Config(**wrong)
