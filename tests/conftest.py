"""Fixtures that all tests share."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(min(2, torch.get_num_threads()))


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
