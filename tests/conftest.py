"""Fixtures that all tests share."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

torch.set_num_threads(min(2, torch.get_num_threads()))
settings.register_profile("unshift", deadline=None)  # seconds say how busy the machine is, not whether code is right
settings.load_profile("unshift")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that use it are marked ``real`` and fail, never skip, when it is missing."""
    folder = Path(os.environ.get("UNSHIFT_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    assert folder.is_dir(), f"{folder}: no such folder. Set UNSHIFT_REAL_DATA to the folder of real images."
    return folder


def torchvision_lacks_operators() -> bool:
    """A torchvision built for CUDA beside a torch that is not, which is what PyPI gives a Linux without a GPU."""
    try:
        return torch.version.cuda is None and "+cpu" not in importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return False


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Declare, for tests marked ``timm`` only, the two operators without whose schemas torchvision does not import."""
    if item.get_closest_marker("timm") and torchvision_lacks_operators() and not _LIBRARY:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARY.append(library)


_LIBRARY: list[torch.library.Library] = []


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
