from __future__ import annotations

import numpy as np
import pytest
import torch

from unshift.augmentations.bezier import tables
from unshift.augmentations.location_scale import DARK, draw_global, draw_local, global_view, local_view

CLASSES = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    images = 0.1 + 0.7 * torch.rand(4, channels, 14, 12, generator=generator())
    images[0, :, :3] = 0.005
    label_maps = torch.randint(0, CLASSES, (4, 14, 12), generator=generator(1))
    label_maps[2] = 0
    return images, label_maps


def by_numpy(values: np.ndarray, p: dict[str, torch.Tensor], row: int) -> np.ndarray:
    """One region, by NumPy's interpolation and percentiles."""
    low, high = values.min(), values.max()
    table = tables(p["first"][row : row + 1], p["second"][row : row + 1], p["falling"][row : row + 1])[0].numpy()
    bent = np.interp((values - low) / (high - low), np.linspace(0, 1, len(table)), table) * (high - low) + low
    location = np.clip(float(p["location"][row]), -np.percentile(bent, 20), 1 - np.percentile(bent, 80))
    return np.clip(float(p["scale"][row]) * bent + location, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_global_view_is_one_region(channels: int) -> None:
    images, _ = example(channels)
    p = draw_global(generator(2), len(images))
    found = global_view(images, p).numpy()
    assert not p["falling"].any()
    for row, image in enumerate(images.double().numpy()):
        np.testing.assert_allclose(found[row], by_numpy(image, p, row), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_local_view_recolors_class_by_class_and_leaves_the_dark(channels: int) -> None:
    images, label_maps = example(channels)
    p = draw_local(generator(3), len(images), CLASSES)
    found = local_view(images, label_maps, p, classes=CLASSES).numpy()
    for index, (image, label_map) in enumerate(zip(images.double().numpy(), label_maps.numpy(), strict=True)):
        expected = image.copy()
        for label in np.unique(label_map):
            at = np.broadcast_to(label_map == label, image.shape)
            expected[at] = by_numpy(image[at], p, CLASSES * index + int(label))
        dark = np.broadcast_to(image.max(0) <= DARK, image.shape)
        np.testing.assert_allclose(found[index], np.where(dark, image, expected), atol=1e-4)
    assert np.array_equal(found[0, :, :3], images[0, :, :3].numpy())


def test_draws_have_the_papers_distribution() -> None:
    p = draw_local(generator(4), 4000, CLASSES)
    falling = p["falling"].view(4000, CLASSES).float().mean(0)
    assert float(falling[0]) == 1 and falling[1:].tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert float(p["scale"].min()) == pytest.approx(0.9) and float(p["scale"].max()) == pytest.approx(1.1)
    assert float(p["scale"].mean()) == pytest.approx(1, abs=0.01)
    assert float(p["location"].std()) == pytest.approx(0.5, abs=0.02)
    assert float(p["first"].mean()) == pytest.approx(0.5, abs=0.02)


def test_a_constant_image_stays_finite() -> None:
    images = torch.full((2, 1, 6, 6), 0.4)
    label_maps = torch.zeros(2, 6, 6, dtype=torch.int64)
    for found in (
        global_view(images, draw_global(generator(), 2)),
        local_view(images, label_maps, draw_local(generator(), 2, CLASSES), classes=CLASSES),
    ):
        assert torch.isfinite(found).all() and float(found.min()) >= 0 and float(found.max()) <= 1
