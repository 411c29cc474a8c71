"""Each switch alone, all together, on shared trainings, and the difference that each makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiment_recipes import TINY, tiny
from unshift.errors import ConfigError
from unshift.evaluate.score import EvaluateConfig, to_frame
from unshift.experiment.events import Event
from unshift.experiment.replay import ALL, HONEST, marks, planned, replay, table, variants
from unshift.experiment.run import prepare
from unshift.report.caption import ORACLE
from unshift.sample import Score, Task

PICTURES = Task(3, ("background", "rim", "cup"), {"disc": frozenset({1, 2}), "cup": frozenset({2})})
VOLUMES = Task(1, ("background", "prostate"), spatial_dims=3)
APART = Task(1, ("background", "a", "b"))


def test_switches_are_those_that_concern_the_task() -> None:
    assert list(variants(tiny(), "ram_dsir_2022", PICTURES)) == [HONEST, "batch_norm", "threshold", "checkpoint", ALL]
    assert list(variants(tiny(), "ram_dsir_2022", APART)) == [HONEST, "batch_norm", "checkpoint", ALL]
    distances = tiny(evaluate={"metrics": ["dice", "asd"]})
    found = variants(distances, "ram_dsir_2022", VOLUMES)
    assert list(found) == [HONEST, "batch_norm", "slices", "distances", "checkpoint", ALL]
    assert found[HONEST] == distances
    assert found["slices"].evaluate.slices == "with_reference" and found["slices"].predict == tiny().predict
    every = found[ALL]
    assert (every.predict.batch_norm, every.predict.batch_size, every.predict.threshold) == ("batch", 8, None)
    assert (every.evaluate.distances, every.selection, every.train.keep) == ("voxels", "oracle", "all")
    assert every.evaluate.metrics == ("dice", "asd") and every.train.steps == 6
    assert len({recipe.name for recipe in found.values()}) == len(found)
    assert found["slices"].description == "tiny [replay of ram_dsir_2022: slices]"
    assert [len(marks(recipe)) for recipe in found.values()] == [0, 1, 1, 1, 1, 4]
    assert marks(found["checkpoint"]) == (ORACLE,) and ORACLE in marks(every)


def test_jobs_are_named_after_their_switch_and_shared_trainings_stand_once(tmp_path: Path) -> None:
    recipe = tiny(pipelines={"baseline": TINY["pipelines"]["baseline"]})
    current, folds = prepare(recipe, root=None, runs=tmp_path, record=False)
    work = planned(current, folds, variants(recipe, "ram_dsir_2022", current.dataset.task))
    trained = [job.name for job in work if job.kind == "train"]
    assert trained == [f"{switch} · train baseline · B · seed 0" for switch in (HONEST, "checkpoint")]
    switches = list(variants(recipe, "ram_dsir_2022", current.dataset.task))
    assert [job.name for job in work if job.kind == "test"] == [f"{s} · test baseline · B · seed 0" for s in switches]


def test_a_switch_that_is_on_already_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has the switch distances of ram_dsir_2022 on.*Remove"):
        variants(tiny(evaluate={"metrics": ["dice"], "distances": "voxels"}), "ram_dsir_2022", VOLUMES)
    with pytest.raises(ConfigError, match=r"evaluate.metrics is \['dice'\]; ram_dsir_2022 reports .* asd. Add asd"):
        variants(tiny(evaluate={"metrics": ["dice"]}), "ram_dsir_2022", VOLUMES)


def row(value: float, case: str, domain: str, *, metric: str = "dice", unit: str = "1", **names: Any) -> Score:
    names = {"run": "r", "pipeline": "erm", "dataset": "d", "domain": domain, "case": case} | names
    names |= {"patient": f"{domain}/{case}", "region": "organ", "reference_voxels": 1, "prediction_voxels": 1}
    return Score(metric=metric, value=value, unit=unit, **names)


def test_differences_are_means_over_domains_of_paired_cases() -> None:
    honest = [row(0.5, "1", "A"), row(0.7, "2", "A"), row(0.2, "1", "B"), row(0.4, "2", "B")]
    after = ((0.6, "1", "A"), (0.9, "2", "A"), (0.1, "1", "B"), (0.3, "2", "B"))
    switched = [row(*values, run="s") for values in after]
    lengths = [row(v, "1", d, metric="asd", unit="mm") for v, d in ((3.0, "A"), (5.0, "B"))]
    voxels = [row(v, "1", d, metric="asd", unit="px", run="s") for v, d in ((6.0, "A"), (8.0, "B"))]
    found = table({HONEST: to_frame(honest + lengths), "x": to_frame(switched + voxels)}, config=EvaluateConfig())
    dice, asd = (found[found["metric"] == metric].iloc[0] for metric in ("dice", "asd"))
    assert (dice["pipeline"], dice["switch"], dice["region"], dice["n"]) == ("erm", "x", "organ", 4)
    assert dice["honest"] == pytest.approx((0.6 + 0.3) / 2)
    assert dice["replayed"] == pytest.approx((0.75 + 0.2) / 2)
    assert dice["difference"] == pytest.approx((0.15 - 0.1) / 2)
    assert dice["low"] <= dice["difference"] <= dice["high"]
    assert (asd["honest"], asd["honest_unit"], asd["replayed"], asd["unit"]) == (4.0, "mm", 7.0, "px")
    assert np.isnan(asd["difference"])


def test_rows_of_seen_domains_count_nowhere() -> None:
    unseen = {"a": ((0.5, "1", "A"), (0.2, "1", "B")), "b": ((0.6, "1", "A"), (0.1, "1", "B"))}
    seen = {"a": ((0.9, "2", "A"), (0.9, "2", "C")), "b": ((0.0, "2", "A"), (0.3, "2", "C"))}
    honest, switched = (
        [row(*values, run=run) for values in unseen[run]] + [row(*values, run=run, seen=True) for values in seen[run]]
        for run in "ab"
    )
    config = EvaluateConfig()
    found = table({HONEST: to_frame(honest), "x": to_frame(switched)}, config=config)
    alone = table({HONEST: to_frame(honest[:2]), "x": to_frame(switched[:2])}, config=config)
    pd.testing.assert_frame_equal(found, alone)
    assert found.loc[0, ["honest", "replayed", "difference"]].tolist() == pytest.approx([0.35, 0.35, 0.0])
    assert found["n"].tolist() == [2]


@pytest.mark.slow
def test_one_call_runs_both_on_shared_trainings(tmp_path: Path) -> None:
    recipe = tiny(pipelines={"baseline": TINY["pipelines"]["baseline"]})
    heard: list[Event] = []
    done = replay(recipe, "ram_dsir_2022", runs=tmp_path, listener=heard.append)
    current, folds = prepare(recipe, root=None, runs=tmp_path, record=False)
    work = planned(current, folds, variants(recipe, "ram_dsir_2022", current.dataset.task))
    assert {job.name for job in work} < {event.job for event in heard}
    assert {"batch_norm", "checkpoint"} <= set(done.results)
    assert len(list((tmp_path / "trainings").iterdir())) == 2, "one for all, one whose weights were all kept"
    switches = list(done.table["switch"].unique())
    assert switches == [name for name in done.results if name != HONEST]
    stored = pd.read_csv(done.file)
    assert list(stored.columns) == list(done.table.columns) and len(stored) == len(done.table)
    assert stored["replay"].str.len().min() > 20 and ORACLE in set(stored["replay"])
    dice = done.table[done.table["metric"] == "dice"]
    np.testing.assert_allclose(dice["difference"], dice["replayed"] - dice["honest"], atol=1e-9)
    assert "REPLAY" in done.results["batch_norm"].report.read_text(encoding="utf-8")
    assert "REPLAY" not in done.results[HONEST].report.read_text(encoding="utf-8")
