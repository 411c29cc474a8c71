"""Small datasets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an array as a picture below ``tmp_path/data``; give the path."""

    def _write(place: str, array: np.ndarray) -> Path:
        path = tmp_path / "data" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(path)
        return path

    return _write


@pytest.fixture
def pairs(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """Write pairs ``<domain>/{images,masks}/<stem>.png`` of random images; give the root."""

    def _pairs(
        domains: dict[str, list[str]], *, shape: tuple[int, ...] = (8, 10, 3), labels: tuple[int, ...] = (0, 255)
    ) -> Path:
        random = np.random.default_rng(0)
        for domain, stems in domains.items():
            for stem in stems:
                write(f"{domain}/images/{stem}.png", random.integers(0, 256, shape))
                mask = np.resize(np.array(labels), shape[:2])
                write(f"{domain}/masks/{stem}.png", mask)
        return tmp_path / "data"

    return _pairs
