"""One call gives all metrics, with units and the policy's notes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from medpy.metric import binary as medpy

from unshift.errors import DataError, UnknownName
from unshift.metrics import surface
from unshift.metrics.measure import measure
from unshift.metrics.overlap import Overlap
from unshift.metrics.policy import METRICS, MetricConfig


def squares() -> tuple[np.ndarray, np.ndarray]:
    prediction, reference = np.zeros((20, 30), dtype=bool), np.zeros((20, 30), dtype=bool)
    prediction[3:12, 4:15] = True
    reference[5:14, 4:19] = True
    return prediction, reference


def test_all_metrics_in_the_order_asked_for() -> None:
    prediction, reference = squares()
    names = tuple(reversed(METRICS))
    counts, found = measure(prediction, reference, names, spacing=(2.0, 0.5))
    assert counts == Overlap(both=7 * 11, prediction=9 * 11, reference=9 * 15)
    assert tuple(m.metric for m in found) == names
    values = {m.metric: m.value for m in found}
    for name, theirs in {"hd": medpy.hd, "assd": medpy.assd, "asd": medpy.asd}.items():
        assert values[name] == pytest.approx(theirs(prediction, reference, voxelspacing=(2.0, 0.5)))
    assert values["dice"] == pytest.approx(medpy.dc(prediction, reference))
    assert all(m.note == "" for m in found)


def test_settings_reach_the_metrics() -> None:
    masks = squares()
    masks[0][18, 25:29] = True  # a small part far away weighs more in its own direction than among all
    distances = surface.surface_distances(*masks)
    for tolerance in (0.5, 3.0):
        _, found = measure(*masks, ["nsd"], config=MetricConfig(tolerance=tolerance))
        assert found[0].value == surface.nsd(distances, tolerance)
    ways = [measure(*masks, ["hd95"], config=MetricConfig(hd95=way))[1][0].value for way in ("max", "pooled")]
    assert ways == [surface.hd95(distances), surface.hd95(distances, way="pooled")]
    assert ways[0] > ways[1]


def test_units_follow_the_spacing() -> None:
    known = {m.metric: m.unit for m in measure(*squares(), tuple(METRICS), spacing=(1.0, 1.0))[1]}
    unknown = {m.metric: m.unit for m in measure(*squares(), tuple(METRICS))[1]}
    assert known == {name: "mm" if kind.length else "1" for name, kind in METRICS.items()}
    assert unknown == {name: "px" if kind.length else "1" for name, kind in METRICS.items()}


def test_a_missed_region_costs_the_diagonal_of_the_image() -> None:
    _, reference = squares()
    _, found = measure(np.zeros_like(reference), reference, ["hd95", "dice", "precision"], spacing=(2.0, 0.5))
    assert found[0].value == pytest.approx(math.hypot(20 * 2.0, 30 * 0.5))
    assert found[0].note == "the prediction is empty: image diagonal"
    assert found[1].value == 0.0
    assert math.isnan(found[2].value)
    assert found[2].note == "undefined: the prediction is empty"


def test_surfaces_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = surface.surface_distances
    monkeypatch.setattr(surface, "surface_distances", lambda *a, **k: (calls.append(1), whole(*a, **k))[1])
    measure(*squares(), tuple(METRICS))
    assert len(calls) == 1
    measure(*squares(), ["dice"])
    assert len(calls) == 1


def test_an_unknown_metric_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown metric 'hd59'. Did you mean 'hd95'"):
        measure(*squares(), ["hd59"])


def test_a_wrong_spacing_is_found_even_where_no_distance_is_needed() -> None:
    with pytest.raises(DataError, match="2 positive numbers"):
        measure(*squares(), ["dice"], spacing=(1.0, 1.0, 1.0))
