"""One call on a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unshift.errors import DataError, UnknownName
from unshift.experiment.quick import bench


def build(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for domain in ("a", "b"):
        for part in ("images", "masks"):
            (root / domain / part).mkdir(parents=True)
        for i in range(8):
            mask = np.zeros((40, 40), np.uint8)
            mask[10:25, 5 : 20 + i] = 255
            Image.fromarray((rng.integers(0, 90, (40, 40)) + mask // 2).astype(np.uint8)).save(
                root / domain / "images" / f"{i}.png"
            )
            Image.fromarray(mask).save(root / domain / "masks" / f"{i}.png")
    return root


def test_first_objective_is_the_baseline(tmp_path: Path) -> None:
    root = build(tmp_path / "my images")
    result = bench(root, sources=["a"], targets=["b"], steps=2, size=(32, 32), runs=tmp_path / "runs")
    assert set(result.summary["pipeline"]) == {"erm", "augmented"}
    assert set(result.comparisons["baseline"]) == {"erm"}
    assert result.report.is_file()


def test_wrong_names(tmp_path: Path) -> None:
    root = build(tmp_path / "set")
    with pytest.raises(UnknownName, match="unknown domain 'c'"):
        bench(root, sources=["c"], targets=["b"], runs=tmp_path / "runs")
    with pytest.raises(UnknownName, match="unknown objective 'emr'"):
        bench(root, sources=["a"], targets=["b"], objectives=["emr"], runs=tmp_path / "runs")
    with pytest.raises(DataError, match="no such folder"):
        bench(tmp_path / "none", sources=["a"], targets=["b"])
    assert not (tmp_path / "runs").exists()
