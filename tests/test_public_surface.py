"""The public names, pinned: a change here is a change of the interface and belongs in the changelog."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unshift

NAMES = ["Recipe", "__version__", "bench", "load_bundle", "open_dataset", "read_recipe", "run"]


def test_public_names() -> None:
    assert unshift.__all__ == NAMES
    for name in NAMES:
        assert getattr(unshift, name) is not None
    assert dir(unshift) == sorted(NAMES)


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'; it has Recipe"):
        unshift.trian  # noqa: B018


def test_importing_is_light() -> None:
    code = "import sys, unshift; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
