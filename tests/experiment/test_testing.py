"""Scores of a run equal scores computed from the files that it left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from experiment_recipes import TINY, tiny
from unshift.experiment.run import Result, prepare
from unshift.experiment.testing import part_key, prediction_path
from unshift.experiment.training import train
from unshift.export.bundle import load_bundle


def test_dice_redone_from_the_written_files(finished: Result) -> None:
    current, plan = prepare(tiny(), root=None, runs=finished.folder.parent)
    cases = {case.key: case for case in plan[0].test}
    rows = finished.scores[(finished.scores["metric"] == "dice") & (finished.scores["pipeline"] == "baseline")]
    assert len(rows) == len(cases)
    for row in rows.itertuples():
        case = cases[f"{row.domain}/{row.case}"]
        path = prediction_path(finished.folder, "baseline", row.fold, row.seed, case)
        predicted = np.asarray(Image.open(path.with_name(path.name + ".png"))) == 1
        reference = current.dataset.read_label_map(case).numpy() == 1
        dice = 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum())
        assert abs(row.value - dice) < 1e-9


def test_the_bundle_predicts_what_the_run_predicted(finished: Result) -> None:
    current, plan = prepare(tiny(), root=None, runs=finished.folder.parent)
    case = next(c for c in plan[0].test if c.domain == "B")
    for pipeline in ("baseline", "equalized"):
        bundle = load_bundle(finished.folder / "bundles" / plan[0].name / "0" / pipeline)
        label_map = bundle.predictor().predict(current.dataset.read_image(case)).label_map
        path = prediction_path(finished.folder, pipeline, plan[0].name, 0, case)
        assert np.array_equal(label_map.numpy(), np.asarray(Image.open(path.with_name(path.name + ".png"))))


def test_part_key_follows_what_decides_the_scores(finished: Result, tmp_path: Path) -> None:
    keys = set()
    for change in (
        {},
        {"evaluate": {"metrics": ["dice"]}},
        {"protocol": {**TINY["protocol"], "test": 0.4}},
        {"pipelines": {**TINY["pipelines"], "baseline": {"normalizations": ["zscore"]}}},
    ):
        current, plan = prepare(tiny(**change), root=None, runs=finished.folder.parent, record=False)
        training = train(current, "baseline", plan[0], seed=0)
        keys.add(part_key(current, "baseline", plan[0], training))
    assert len(keys) == 4
