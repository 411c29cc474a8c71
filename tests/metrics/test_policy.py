"""The policy for empty masks, cell by cell, and the same table in the module and in the reference page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from unshift.config import parse
from unshift.errors import ConfigError
from unshift.metrics import policy
from unshift.metrics.policy import METRICS, MetricConfig, when_empty

NAN, FAR = math.nan, 12.5
SHARES, DISTANCES = ("dice", "jaccard", "nsd"), ("hd", "hd95", "assd", "asd")
#        metrics, (both empty, prediction empty, reference empty), settings
CELLS = [
    (SHARES, (NAN, 0.0, 0.0), {}),
    (("precision",), (NAN, NAN, 0.0), {}),
    (("recall",), (NAN, 0.0, NAN), {}),
    (DISTANCES, (NAN, FAR, FAR), {}),
    (SHARES, (1.0, 0.0, 0.0), {"both_empty": "perfect"}),
    (("precision",), (1.0, NAN, 0.0), {"both_empty": "perfect"}),
    (("recall",), (1.0, 0.0, NAN), {"both_empty": "perfect"}),
    (DISTANCES, (0.0, FAR, FAR), {"both_empty": "perfect"}),
    (DISTANCES, (NAN, NAN, NAN), {"one_empty": "undefined"}),
]


@pytest.mark.parametrize(("metrics", "values", "settings"), CELLS)
def test_every_cell(metrics: tuple[str, ...], values: tuple[float, ...], settings: dict[str, str]) -> None:
    config = MetricConfig(**settings)
    for metric in metrics:
        for (prediction, reference), expected in zip(((0, 0), (0, 7), (7, 0)), values, strict=True):
            verdict = when_empty(
                metric, prediction_voxels=prediction, reference_voxels=reference, diagonal=FAR, config=config
            )
            assert verdict is not None
            assert verdict.value == pytest.approx(expected, nan_ok=True)
            assert verdict.note
            assert verdict.note.startswith("undefined") == math.isnan(verdict.value)


def test_the_table_covers_every_metric() -> None:
    assert {name for metrics, _, settings in CELLS if not settings for name in metrics} == set(METRICS)


def test_two_masks_with_voxels_are_no_matter_of_policy() -> None:
    for metric in METRICS:
        config = MetricConfig()
        assert when_empty(metric, prediction_voxels=1, reference_voxels=1, diagonal=FAR, config=config) is None


def test_the_reference_page_shows_the_same_table() -> None:
    assert policy.__doc__ is not None
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = [
        line.split("  ") for line in policy.__doc__.splitlines() if line.startswith(("dice", "preci", "recall", "hd"))
    ]
    assert len(rows) == 4
    for row in rows:
        cells = [cell.strip() for cell in row if cell.strip()]
        assert "| " + " | ".join(cell.replace("|", "or") for cell in cells) + " |" in page


def test_direction_and_unit() -> None:
    assert METRICS["dice"].sign == 1 and not METRICS["dice"].length
    assert METRICS["hd95"].sign == -1 and METRICS["hd95"].length


@pytest.mark.parametrize("settings", [{"tolerance": 0.0}, {"tolerance": math.inf}, {"both_empty": "one"}])
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="1 problem"):
        parse(MetricConfig, settings, where="evaluate")
