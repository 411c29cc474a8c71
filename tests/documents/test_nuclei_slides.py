"""Tiles cut from one picture are found to adjoin, in the right order; those of other pictures are not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def picture(seed: int) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(80, 96)), 3)
    return 128 + 40 * smooth / smooth.std()


def test_tiles_of_one_picture_adjoin(script: ModuleType) -> None:
    whole = picture(0)
    tiles = [whole[:40, :48], whole[:40, 48:], whole[40:, :48], *(picture(seed)[:40, :48] for seed in (1, 2, 3))]
    found, required = script.adjoining(tiles)
    assert [tuple(pair) for pair in np.argwhere(found)] == [(0, 1), (0, 2)] and required >= 0.9


def test_an_edge_without_contrast_tells_nothing(script: ModuleType) -> None:
    flat = np.full((40, 48), 7.0) + np.linspace(0, 1, 40)[:, None]
    assert not script.adjoining([flat, flat.copy(), flat.copy()])[0].any()


def test_slides_of_a_folder(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "stain" / "images").mkdir(parents=True)
    whole = picture(0)
    for name, tile in (("b" * 20, whole[:40, :48]), ("c" * 20, whole[:40, 48:]), ("a" * 20, picture(1)[:40, :48])):
        Image.fromarray(tile.clip(0, 255).astype(np.uint8)).save(tmp_path / "stain" / "images" / f"{name}.png")
    assert script.slides(tmp_path / "stain") == [("b" * 16, "stain/slide-01"), ("c" * 16, "stain/slide-01")]
