"""Rows of scores: values by an independent library, identity, geometry, files."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from medpy.metric import binary as medpy

from unshift.config import parse
from unshift.errors import ConfigError, DataError, ProtocolError, ShapeMismatch
from unshift.evaluate.protocol import ProtocolConfig, folds
from unshift.evaluate.score import COLUMNS, EvaluateConfig, read_scores, score, score_all, to_frame, write_scores
from unshift.sample import Prediction, Sample, Task

WHO = {"run": "r", "pipeline": "erm", "dataset": "memory", "fold": "B", "seed": 4, "seen": True}
CONFIG = EvaluateConfig(metrics=("dice", "hd", "nsd"), tolerance=0.5)


@pytest.fixture
def pair(dataset):
    """A task, a sample with its label map, and a prediction one row too low."""
    data = dataset(A=1)
    sample = data.read(data.listed[0])
    shifted = torch.roll(sample.label_map, 1, dims=0)
    prediction = Prediction(sample.case, sample.patient, sample.domain, shifted, spacing=sample.spacing)
    return data.task, sample, prediction


def test_a_row_for_each_region_and_metric(pair) -> None:
    task, sample, prediction = pair
    rows = score(prediction, sample, task, config=CONFIG, **WHO)
    assert [(r.region, r.metric, r.unit) for r in rows] == [
        (region, *rest) for region in ("disc", "cup") for rest in (("dice", "1"), ("hd", "mm"), ("nsd", "1"))
    ]
    for name, labels in (("disc", (1, 2)), ("cup", (2,))):
        masks = [torch.isin(m, torch.tensor(labels)).numpy() for m in (prediction.label_map, sample.label_map)]
        found = {r.metric: r for r in rows if r.region == name}
        assert found["dice"].value == pytest.approx(medpy.dc(*masks))
        assert found["hd"].value == pytest.approx(medpy.hd(*masks, voxelspacing=(0.5, 0.25)))
        assert (found["hd"].prediction_voxels, found["hd"].reference_voxels) == tuple(int(m.sum()) for m in masks)
    assert {(r.run, r.pipeline, r.dataset, r.fold, r.seed, r.seen) for r in rows} == {tuple(WHO.values())}
    assert {(r.domain, r.patient, r.case) for r in rows} == {("A", "A/p00", "p00-0")}


def test_pixels_where_the_spacing_is_unknown(pair) -> None:
    task, sample, prediction = pair
    rows = score(prediction, sample.replace(spacing=None), task, config=CONFIG)
    assert {r.metric: r.unit for r in rows} == {"dice": "1", "hd": "px", "nsd": "1"}
    assert next(r.value for r in rows if r.metric == "hd") == 1.0


def test_a_missed_region_is_noted(pair) -> None:
    task, sample, prediction = pair
    empty = Prediction(sample.case, sample.patient, sample.domain, torch.zeros_like(prediction.label_map))
    rows = {r.metric: r for r in score(empty, sample, task, config=CONFIG) if r.region == "cup"}
    assert rows["dice"].value == 0.0
    assert rows["hd"].value == pytest.approx(math.hypot(12 * 0.5, 12 * 0.25))
    assert "the prediction is empty" in rows["hd"].note


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label_map": torch.zeros(12, 13, dtype=torch.int64)}, ShapeMismatch, "shape of the prediction is 12×13 but"),
        ({"spacing": (0.5, 0.5)}, ShapeMismatch, "spacing of the prediction is"),
        ({"affine": 2 * torch.eye(3, dtype=torch.float64)}, ShapeMismatch, "affine of the prediction is"),
        ({"case": "other"}, DataError, "the prediction is of A/other; both must be of one case"),
        ({"label_map": torch.full((12, 12), 3)}, DataError, "the prediction has label 3; the task has labels 0 … 2"),
        ({"label_map": torch.full((12, 12), -1)}, DataError, "the prediction has label -1"),
    ],
)
def test_what_does_not_match(pair, changes: dict, error: type[Exception], message: str) -> None:
    task, sample, prediction = pair
    sample = sample.replace(affine=torch.eye(3, dtype=torch.float64))
    with pytest.raises(error, match=message):
        score(Prediction(**(vars(prediction) | changes)), sample, task, config=CONFIG)


def test_a_reference_without_labels(pair) -> None:
    task, sample, prediction = pair
    with pytest.raises(DataError, match="Case A/p00-0: it has no label map"):
        score(prediction, sample.unlabeled(), task, config=CONFIG)


def predictions(data, fold):
    for case in fold.test:
        yield Prediction(case.name, case.patient, case.domain, data.read_label_map(case))


def test_score_all_gives_every_test_case_once(dataset) -> None:
    data = dataset(A=4, B=2)
    (fold,) = folds(data, ProtocolConfig(targets=("B",)), seed=0)
    rows = score_all(predictions(data, fold), fold, data, config=CONFIG, run="r", pipeline="p", dataset="d")
    assert len(rows) == len(fold.test) * 2 * 3
    assert {(r.domain, r.seen) for r in rows} == {("A", True), ("B", False)}
    assert all(r.value == 1.0 for r in rows if r.metric == "dice")


def test_a_missing_prediction_is_an_error_and_not_skipped(dataset) -> None:
    data = dataset(A=4, B=2)
    (fold,) = folds(data, ProtocolConfig(targets=("B",)), seed=0)
    given = [p for p in predictions(data, fold) if (p.domain, p.case) != ("B", "p01-1")]
    with pytest.raises(ProtocolError, match="1 of 6 predictions are missing: B/p01-1"):
        score_all(given, fold, data, config=CONFIG)
    with pytest.raises(ProtocolError, match="was given twice or is not of a test case"):
        score_all([given[0], given[0]], fold, data, config=CONFIG)


def test_parquet_round_trip(row, tmp_path: Path) -> None:
    frame = to_frame([row("p", "A", "x", 0.5, note="a"), row("p", "A", "y", math.nan, seen=True, seed=3)])
    write_scores(tmp_path / "run" / "scores.parquet", frame)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "run" / "scores.parquet"), frame)
    assert tuple(frame.columns) == COLUMNS
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["scores.parquet"]


def test_no_scores_are_a_table_too(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.parquet", to_frame([]))
    assert read_scores(tmp_path / "s.parquet").empty


def test_files_that_are_no_scores(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent.parquet: not a file of scores"):
        read_scores(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(DataError, match="text.parquet: not a file of scores"):
        read_scores(tmp_path / "text.parquet")
    pd.DataFrame({"value": [1.0]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="columns run, pipeline, .* are missing"):
        read_scores(tmp_path / "other.parquet")


def test_settings() -> None:
    only = EvaluateConfig(tolerance=3.0).only("dice")
    assert (only.metrics, only.tolerance) == (("dice",), 3.0)
    for settings, message in (
        ({"metrics": ["dize"]}, "unknown metric 'dize'"),
        ({"metrics": ["dice", "dice"]}, "each may stand once"),
        ({"metrics": []}, "at least 1 item"),
        ({"resamples": 5}, "greater than or equal to 100"),
        ({"confidence": 1.0}, "less than 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse(EvaluateConfig, settings, where="evaluate")


def test_slices_without_reference_are_erased_only_where_a_protocol_is_replayed() -> None:
    """Of a volume of three slices, the reference is empty on the first: what was predicted there vanishes."""
    task = Task(1, ("background", "organ"))
    reference = torch.zeros(3, 4, 4, dtype=torch.int64)
    reference[1:, 1:3, 1:3] = 1
    predicted = torch.zeros_like(reference)
    predicted[:, 1:3, 1:3] = 1
    sample = Sample(torch.zeros(1, 3, 4, 4), "c", "p", "A", label_map=reference, spacing=(3.0, 0.5, 0.5))
    prediction = Prediction("c", "p", "A", predicted)

    def dice(**settings: str) -> float:
        (row,) = score(prediction, sample, task, config=EvaluateConfig(metrics=("dice",), **settings))
        return row.value

    assert dice() == pytest.approx(2 * 8 / (12 + 8))
    assert dice(slices="with_reference") == 1.0
    assert int(predicted.sum()) == 12
    flat = Sample(torch.zeros(1, 4, 4), "c", "p", "A", label_map=torch.zeros(4, 4, dtype=torch.int64))
    config = EvaluateConfig(metrics=("dice",), slices="with_reference")
    (row,) = score(Prediction("c", "p", "A", predicted[0]), flat, task, config=config)
    assert row.prediction_voxels == 4


def test_voxel_distances_ignore_the_spacing_only_where_a_protocol_is_replayed(pair) -> None:
    task, sample, _ = pair
    shifted = Prediction(sample.case, sample.patient, sample.domain, torch.roll(sample.label_map, 2, dims=0))
    values = {}
    for distances in ("mm", "voxels"):
        config = EvaluateConfig(metrics=("hd",), distances=distances)
        values[distances] = next(r for r in score(shifted, sample, task, config=config) if r.region == "disc")
    assert (values["mm"].value, values["mm"].unit) == (pytest.approx(2 * 0.5), "mm")
    assert (values["voxels"].value, values["voxels"].unit) == (2.0, "px")


def test_keys_hold_later_settings_only_where_they_are_on() -> None:
    plain = EvaluateConfig().deciding()
    assert not {"slices", "distances"} & plain.keys() and plain["metrics"][0] == "dice"
    assert EvaluateConfig(slices="with_reference").deciding() == plain | {"slices": "with_reference"}
    assert EvaluateConfig(distances="voxels").deciding() == plain | {"distances": "voxels"}
