"""unshift: medical image segmentation on images from vendors, cameras, sites and modalities never seen.

The names below are loaded when they are first used, so that ``import unshift`` and the command line stay quick.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
_PLACES = {
    "Recipe": "unshift.recipe",
    "bench": "unshift.experiment.quick",
    "load_bundle": "unshift.export.bundle",
    "open_dataset": "unshift.datasets.opening",
    "read_recipe": "unshift.recipe",
    "run": "unshift.experiment.run",
}
__all__ = ["Recipe", "__version__", "bench", "load_bundle", "open_dataset", "read_recipe", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'unshift' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
