from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy import ndimage

from unshift.augmentations.bigaug import _INTENSITY, _SPATIAL, BigAug, Config
from unshift.errors import DataError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(images: torch.Tensor, *steps: str, seed: int = 1, **settings: Any) -> tuple[BigAug, dict[str, torch.Tensor]]:
    """A member and a draw of which only ``steps`` are switched on."""
    member = BigAug(Config(**settings))
    sure = BigAug(member.config.model_copy(update={"probability": 1.0}))
    p = sure.draw(generator(seed), images)
    for name in (*_INTENSITY, *_SPATIAL):
        p[name] = torch.full((len(images),), name in steps)
    return member, p


def images(count: int = 3, *, channels: int = 2, side: int = 24) -> torch.Tensor:
    return torch.rand(count, channels, side, side + 4, generator=generator())


def blurred(x: np.ndarray, deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (0, deviation, deviation), mode="nearest", radius=(0, 5, 5))


def by_formula(step: str, x: np.ndarray, v: dict[str, float], noise: np.ndarray) -> np.ndarray:
    """One step on one image, in float64."""
    if step == "sharpened":
        smooth = blurred(x, v["detail"])
        return smooth + v["sharpness"] * (smooth - blurred(smooth, 0.5))
    return {
        "blurred": blurred(x, v["blur"]),
        "noisy": x + x.std() * noise,
        "brightened": x + v["brightness"],
        "bent": x ** v["gamma"],
        "perturbed": x * (1 + v["factor"]) + v["shift"],
    }[step]


@pytest.mark.parametrize("step", _INTENSITY)
def test_each_step_is_its_formula(step: str) -> None:
    x = images()
    member, p = drawn(x, step)
    found = member.apply(x, p).double().numpy()
    for index, one in enumerate(x.double().numpy()):
        v = {name: float(value[index]) for name, value in p.items() if value.ndim == 1}
        expected = np.clip(by_formula(step, one, v, p["noise"][index].numpy()), 0, 1)
        np.testing.assert_allclose(found[index], expected, atol=2e-4)
        assert not np.allclose(found[index], one)


def test_steps_come_in_the_order_of_the_paper() -> None:
    x = images(6)
    order = ("sharpened", "blurred", "noisy", "brightened", "bent", "perturbed")
    settings = {"sharpness": (1.0, 3.0), "noise": (0.3, 0.6), "gamma": (1.5, 2.5)}
    member, p = drawn(x, *order, *_SPATIAL, **settings)
    expected = x.double().numpy()
    for index in range(6):
        v = {name: float(value[index]) for name, value in p.items() if value.ndim == 1}
        noise = p["noise"][index].double().numpy() * expected[index].std()
        for step in order:
            one = expected[index]
            changed = one + noise if step == "noisy" else by_formula(step, one, v, noise)
            expected[index] = np.clip(changed, 0, 1)
    flat, still = torch.from_numpy(expected).float(), {name: torch.zeros(6, dtype=torch.bool) for name in _SPATIAL}
    np.testing.assert_allclose(member.apply(x, p | still).numpy(), expected, atol=5e-4)
    moved = member.apply(flat, p | {name: torch.zeros(6, dtype=torch.bool) for name in order})
    torch.testing.assert_close(member.apply(x, p), moved, atol=5e-4, rtol=0)


def test_rotation_and_scaling_come_before_the_deformation() -> None:
    y, x = np.mgrid[:64, :64] / 63
    smooth = torch.from_numpy(np.sin(5 * x) * np.cos(4 * y) / 2 + 0.5).float()[None, None]
    settings = {"rotation": 20.0, "scaling": (1.5, 1.6), "deformation": (1000.0, 1000.0)}
    member, p = drawn(smooth, *_SPATIAL, **settings)
    no = torch.zeros(1, dtype=torch.bool)
    turned = member.apply(smooth, p | {"deformed": no, "field": torch.zeros_like(p["field"])})
    across, down = F.interpolate(p["field"], size=(64, 64), mode="bilinear", align_corners=False)[0].numpy()
    row, column = np.mgrid[:64, :64]
    expected = ndimage.map_coordinates(turned[0, 0].numpy(), [row + down, column + across], order=1)
    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(member.apply(smooth, p)[0, 0].numpy()[inside], expected[inside], atol=5e-3)
    assert np.abs(expected - turned[0, 0].numpy())[inside].max() > 0.05


def test_draws_fill_the_ranges_of_the_docstring() -> None:
    member = BigAug(Config(probability=1.0))
    p = member.draw(generator(), torch.zeros(3000, 1, 24, 24))
    cosine, sine = p["matrix"][:, 0, 0], p["matrix"][:, 0, 1]
    p["degrees"], p["scale"] = torch.rad2deg(torch.atan2(sine, cosine)), torch.hypot(sine, cosine).reciprocal()
    ranges = {"sharpness": (10, 30), "detail": (0.5, 1), "blur": (0.25, 1.5), "gamma": (0.5, 4.5), "scale": (0.4, 1.6)}
    ranges |= dict.fromkeys(("brightness", "factor", "shift"), (-0.1, 0.1)) | {"degrees": (-20, 20)}
    for name, (low, high) in ranges.items():
        slack, value = 1e-2 * (high - low), p[name].double()
        assert low - 1e-4 <= float(value.min()) < low + slack, name
        assert high - slack < float(value.max()) <= high + 1e-4, name
        assert float(value.mean()) == pytest.approx((low + high) / 2, abs=3 * slack), name
    deviations = p["noise"].flatten(1).std(1)  # of 576 values, hence known to 3 %
    assert float(deviations.min()) == pytest.approx(0.1, abs=0.02)
    assert float(deviations.max()) == pytest.approx(1, abs=0.12)
    # magnitude m in [0, 1000] and σ in [10, 13]: the mean of m² / 3 / (2 √π σ)³
    variance = 1000**2 / 9 / (2 * math.sqrt(math.pi)) ** 3 * (1 / 10**2 - 1 / 13**2) / (2 * (13 - 10))
    assert float(p["field"].std()) == pytest.approx(math.sqrt(variance), rel=0.05)


def test_rotation_and_scaling_are_those_of_scipy() -> None:
    y, x = np.mgrid[:48, :48] / 47
    smooth = torch.from_numpy(np.sin(5 * x) * np.cos(4 * y) / 2 + 0.5).float()[None, None]
    member, p = drawn(smooth, "rotated", "scaled", seed=3)
    p["field"].zero_()
    found = member.apply(smooth, p)[0, 0].numpy()
    matrix = p["matrix"][0].flip(0, 1).numpy()  # (x, y) -> (row, column)
    center = np.full(2, 23.5)
    expected = ndimage.affine_transform(smooth[0, 0].numpy(), matrix, center - matrix @ center, order=1)
    np.testing.assert_allclose(found[2:-2, 2:-2], expected[2:-2, 2:-2], atol=0.02)
    assert 0.4 <= 1 / math.sqrt(float(torch.linalg.det(p["matrix"][0]))) <= 1.6


def test_label_maps_move_with_the_images() -> None:
    labels = torch.zeros(6, 40, 40, dtype=torch.int64)
    labels[:, 8:28, 12:30] = 1
    pictures = labels[:, None].float()
    member, p = drawn(pictures, *_SPATIAL)
    moved, shown = member.apply_label_maps(labels, p), member.apply(pictures, p)[:, 0] > 0.5
    assert float((moved.bool() == shown).float().mean()) > 0.98
    assert not torch.equal(moved, labels)


def test_the_field_has_the_deviation_of_the_papers_volumes() -> None:
    x = torch.zeros(40, 1, 96, 96)
    _, p = drawn(x, "deformed", deformation=(1000.0, 1000.0), smoothness=(11.0, 11.0))
    volume = ndimage.gaussian_filter(
        np.random.default_rng(0).uniform(-1, 1, (80, 80, 80)).astype(np.float32), 11, mode="wrap"
    )
    assert float(p["field"].std()) == pytest.approx(1000 * float(volume.std()), rel=0.15)


def test_off_gives_images_and_label_maps_back() -> None:
    x, labels = images(), torch.randint(0, 3, (3, 24, 28), generator=generator())
    member = BigAug(Config(probability=0.0))
    p = member.draw(generator(5), x)
    assert torch.equal(member.apply(x, p), x) and torch.equal(member.apply_label_maps(labels, p), labels)


def test_half_of_the_steps_are_drawn_and_slices_share_them() -> None:
    p = BigAug(Config()).draw(generator(6), torch.zeros(400, 1, 2, 2))
    shares = [float(p[name].float().mean()) for name in (*_INTENSITY, *_SPATIAL)]
    assert all(share == pytest.approx(0.5, abs=0.1) for share in shares)
    volumes = torch.rand(2, 1, 1, 24, 24, generator=generator()).expand(2, 1, 3, 24, 24).contiguous()
    member, p = drawn(volumes, "blurred", "bent", "rotated", "deformed")
    found = member.apply(volumes, p)
    assert torch.equal(found[:, :, 0], found[:, :, 2]) and not torch.equal(found, volumes)


def test_intensities_outside_of_the_unit_interval() -> None:
    x = 400 * images() - 100
    member, p = drawn(x, "brightened")
    with pytest.raises(DataError, match="bigaug: intensities span .* images in \\[0, 1\\] are required"):
        member.apply(x, p)
    member, p = drawn(x, "brightened", "sharpened", intensities="image")
    found = member.apply(x, p)
    assert float(found.min()) >= float(x.min()) - 1e-3 and float(found.max()) <= float(x.max()) + 1e-3
    with pytest.raises(ValidationError, match="gamma is 2.0 … 1.0"):
        Config(gamma=(2.0, 1.0))
