from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

from unshift.augmentations.zoom_crop import Config, ZoomCrop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_pixel_by_scipy() -> None:
    """Pixel i of the result lies at (i + 1/2) / factor + place (n - n / factor) - 1/2 of the image."""
    images = torch.rand(3, 2, 20, 26, generator=generator())
    label_maps = torch.randint(0, 3, (3, 20, 26), generator=generator(1))
    parameters = {
        "zoomed": torch.tensor([True, False, True]),
        "factor": torch.tensor([[1.3, 1.45], [1.0, 1.0], [1.47, 1.0]]),
        "place": torch.tensor([[0.2, 0.9], [0.5, 0.5], [1.0, 0.3]]),
    }
    member = ZoomCrop(Config())
    found, labels = member.apply(images, parameters), member.apply_label_maps(label_maps, parameters)
    assert torch.equal(found[1], images[1]) and torch.equal(labels[1], label_maps[1])
    for row in (0, 2):
        axes = []
        drawn = (parameters[name][row].tolist() for name in ("factor", "place"))
        for size, factor, place in zip((20, 26), *drawn, strict=True):
            axes.append((np.arange(size) + 0.5) / factor + place * (size - size / factor) - 0.5)
        grid = np.meshgrid(*axes, indexing="ij")
        for channel in range(2):
            expected = map_coordinates(images[row, channel].double().numpy(), grid, order=1, mode="nearest")
            np.testing.assert_allclose(found[row, channel].numpy(), expected, atol=1e-5)
        expected = map_coordinates(label_maps[row].numpy(), grid, order=0, mode="nearest")
        tie = np.any([np.abs(axis % 1 - 0.5) < 1e-3 for axis in grid], axis=0)
        assert tie.mean() < 0.1 and (tie | (labels[row].numpy() == expected)).all()


def test_half_of_the_images_are_zoomed_by_up_to_half() -> None:
    drawn = ZoomCrop(Config()).draw(generator(), torch.zeros(2000, 1, 4, 4))
    assert float(drawn["zoomed"].float().mean()) == pytest.approx(0.5, abs=0.04)
    factors = drawn["factor"][drawn["zoomed"]]
    assert 1 <= float(factors.min()) < 1.02 and 1.48 < float(factors.max()) < 1.5
    assert float((factors[:, 0] - factors[:, 1]).abs().mean()) > 0.1, "height and width each have their own"
    assert float(drawn["factor"][~drawn["zoomed"]].max()) == 1


def test_slices_of_a_volume_move_together_and_nothing_moves_at_zoom_one() -> None:
    images = torch.rand(2, 1, 1, 16, 16, generator=generator()).repeat(1, 1, 4, 1, 1)
    member = ZoomCrop(Config(probability=1.0))
    found = member.apply(images, member.draw(generator(), images))
    assert all(torch.equal(found[:, :, 0], found[:, :, slice_]) for slice_ in range(4))
    assert not torch.equal(found, images)
    still = ZoomCrop(Config(probability=1.0, zoom=1.0))
    torch.testing.assert_close(still.apply(images, still.draw(generator(), images)), images)


def test_it_does_not_shrink() -> None:
    with pytest.raises(ValidationError, match="zoom"):
        Config(zoom=0.9)
