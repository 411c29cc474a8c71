"""Fixtures that all tests share."""

from __future__ import annotations

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
