"""A recipe so small that a whole run takes seconds."""

from __future__ import annotations

from typing import Any

from unshift.recipe import Recipe, parse_recipe

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "phantom", "world": "ultrasound", "domains": ["A", "B"], "size": [48, 48], "cases": 16},
    "protocol": {"sources": ["A"], "targets": ["B"], "validation": 0.2, "test": 0.3},
    "input": {"mode": "resize", "size": [32, 32]},
    "network": {"name": "unet", "widths": [4, 8]},
    "train": {"steps": 6, "batch_size": 2, "validate_every": 3, "checkpoint_every": 3, "precision": "32"},
    "evaluate": {"metrics": ["dice", "hd95"]},
    "pipelines": {
        "baseline": {"objective": "erm"},
        "equalized": {"objective": "erm", "normalizations": ["histogram_equalization"]},
    },
}


def tiny(**changes: Any) -> Recipe:
    """The tiny recipe with some keys replaced."""
    return parse_recipe({**TINY, **changes}, where="tiny")
