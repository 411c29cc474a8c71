from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from unshift.augmentations.photometric import Config, Photometric
from unshift.errors import DataError

STILL = {f"{step}_probability": 0.0 for step in ("blur", "sharpen", "noise", "brightness_contrast", "color_shift")}


def only(step: str, **settings: object) -> Photometric:
    return Photometric(Config(**{**STILL, f"{step}_probability": 1.0, **settings}))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middle(*shape: int) -> torch.Tensor:
    """Intensities that no step pushes out of [0, 1]."""
    return 0.45 + 0.1 * torch.rand(*shape, generator=generator(9))


def test_nothing_drawn_is_bit_identical() -> None:
    for intensities, images in (("unit", torch.rand(3, 3, 9, 8) * 1.04), ("image", 100 * torch.randn(3, 1, 9, 8))):
        member = Photometric(Config(**STILL, intensities=intensities))
        assert torch.equal(member.apply(images, member.draw(generator(), images)), images)


@pytest.mark.parametrize("side", [3, 5, 7, 9, 11])
def test_blur_against_scipy(side: int) -> None:
    images = torch.rand(2, 3, 20, 14)
    member = only("blur", blur=(side, side))
    expected = ndimage.uniform_filter(images.double().numpy(), (1, 1, side, side), mode="nearest")
    np.testing.assert_allclose(member.apply(images, member.draw(generator(), images)).numpy(), expected, atol=1e-5)


def test_every_odd_side_occurs_equally_often() -> None:
    sides = only("blur").draw(generator(), torch.zeros(10_000, 1, 1, 1))["blur"]
    counts = torch.bincount(sides, minlength=12)
    assert sides.unique().tolist() == [3, 5, 7, 9, 11]
    assert counts[[3, 5, 7, 9, 11]].float().sub(2000).abs().max() < 5 * (10_000 * 0.2 * 0.8) ** 0.5


def test_sharpening_against_scipy() -> None:
    images = 0.3 + 0.05 * torch.rand(4, 1, 12, 15)
    member = only("sharpen")
    parameters = member.draw(generator(), images)
    found = member.apply(images, parameters)
    for image, alpha, lightness, result in zip(
        images, parameters["sharpen"], parameters["lightness"], found, strict=True
    ):
        a, kernel = float(alpha), -np.ones((3, 3))
        kernel[1, 1] = 8 + float(lightness)
        mixed = (1 - a) * np.pad([[1.0]], 1) + a * kernel
        expected = ndimage.correlate(image[0].double().numpy(), mixed, mode="nearest").clip(0, 1)
        np.testing.assert_allclose(result[0].numpy(), expected, atol=1e-5)


def test_noise_variance_is_in_the_authors_range() -> None:
    images = torch.full((64, 3, 64, 64), 0.5)
    member = only("noise")
    variances = (255 * (member.apply(images, member.draw(generator(), images)) - images)).double().var(dim=(1, 2, 3))
    assert float(variances.min()) > 30 * 0.94 and float(variances.max()) < 90 * 1.06
    assert float(variances.mean()) == pytest.approx(60, abs=5 * 60 / (12 * 64) ** 0.5)


def test_brightness_and_contrast_by_hand() -> None:
    images = middle(500, 1, 2, 2)
    member = only("brightness_contrast")
    parameters = member.draw(generator(), images)
    contrast, brightness = (parameters[name].view(-1, 1, 1, 1) for name in ("contrast", "brightness"))
    torch.testing.assert_close(member.apply(images, parameters), images * contrast + brightness)
    assert float(contrast.min()) >= 0.8 and float(contrast.max()) <= 1.2
    assert float(brightness.abs().max()) <= 0.2 and float(brightness.std()) == pytest.approx(0.4 / 12**0.5, rel=0.1)


def test_color_shift_is_per_channel_for_rgb_and_common_otherwise() -> None:
    for channels in (1, 2, 3, 4):
        images = middle(300, channels, 3, 3)
        member = only("color_shift")
        difference = 255 * (member.apply(images, member.draw(generator(), images)) - images)
        shift = difference.mean(dim=(2, 3))
        torch.testing.assert_close(difference, shift[..., None, None].expand_as(difference), atol=1e-3, rtol=0)
        assert float(shift.abs().max()) <= 20.001 and float(shift.std()) == pytest.approx(40 / 12**0.5, rel=0.1)
        assert bool((shift.std(dim=1, unbiased=False) > 0.1).float().mean() > 0.9) == (channels == 3)


def test_results_stay_in_the_unit_range() -> None:
    images = torch.rand(32, 3, 24, 24)
    member = Photometric(Config())
    result = member.apply(images, member.draw(generator(), images))
    assert float(result.min()) >= 0 and float(result.max()) <= 1


def test_intensities_of_the_image_follow_any_scale() -> None:
    """a x + b augmented is a times the augmented x, plus b."""
    images = torch.rand(16, 1, 12, 12)
    member = Photometric(Config(intensities="image"))
    parameters = member.draw(generator(), images)
    torch.testing.assert_close(
        member.apply(300 * images - 1000, parameters), 300 * member.apply(images, parameters) - 1000, atol=0.05, rtol=0
    )
    constant = torch.full((16, 1, 12, 12), -7.0)
    assert torch.isfinite(member.apply(constant, parameters)).all()


def test_volumes_are_filtered_in_plane() -> None:
    volume = torch.rand(2, 2, 4, 9, 9)
    member = only("blur", blur=(3, 3))
    parameters = member.draw(generator(), volume)
    for index in range(4):
        expected = ndimage.uniform_filter(volume[:, :, index].double().numpy(), (1, 1, 3, 3), mode="nearest")
        np.testing.assert_allclose(member.apply(volume, parameters)[:, :, index].numpy(), expected, atol=1e-5)


def test_other_intensities_are_an_error() -> None:
    images = torch.randn(2, 1, 8, 8)
    member = Photometric(Config())
    with pytest.raises(DataError, match=r"intensities span .* images in \[0, 1\] are required.*intensities: image"):
        member.apply(images, member.draw(generator(), images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blur": (11, 3)}, "blur is 11 … 3"),
        ({"blur": (4, 4)}, "odd"),
        ({"noise_variance": (-1.0, 3.0)}, "noise_variance"),
        ({"blur_probability": 1.5}, "less than or equal to 1"),
    ],
)
def test_impossible_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**settings)
