"""A published protocol beside ours: each of its switches alone, all together, and the difference that each makes.

``ram_dsir_2022`` is what the released code of RAM-DSIR does when it tests. Runs share their trainings, so that a switch
changes nothing but itself; only ``checkpoint`` needs trainings that kept the weights of every validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError
from unshift.evaluate.comparison import differences
from unshift.evaluate.files import write_whole
from unshift.evaluate.score import EvaluateConfig
from unshift.evaluate.statistics import pooled
from unshift.experiment.events import Listener, silence
from unshift.experiment.run import Result, run
from unshift.metrics.policy import METRICS
from unshift.predict.threshold import nested
from unshift.recipe import Recipe, parse_recipe
from unshift.sample import Task
from unshift.train.devices import Devices

Protocol = Literal["ram_dsir_2022"]
HONEST, ALL = "honest", "all"
_SWITCHES: Mapping[Protocol, Mapping[str, Mapping[str, Any]]] = {
    "ram_dsir_2022": {
        "batch_norm": {"predict": {"batch_norm": "batch", "batch_size": 8}},
        "threshold": {"predict": {"threshold": 0.75}},
        "slices": {"evaluate": {"slices": "with_reference"}},
        "distances": {"evaluate": {"distances": "voxels"}},
        "checkpoint": {"selection": "oracle", "train": {"keep": "all"}},
    }
}
_COLUMNS = ("pipeline", "switch", "region", "metric", "unit", "honest", "replayed", "difference", "low", "high", "n")


@dataclass(frozen=True)
class Replay:
    """Runs by switch (``honest`` first, ``all`` last), and :func:`table` of them as a frame and as a file."""

    results: Mapping[str, Result]
    table: pd.DataFrame
    file: Path


def replay(
    recipe: Recipe,
    protocol: Protocol,
    *,
    root: Path | None = None,
    runs: Path = Path("runs"),
    devices: Devices | None = None,
    listener: Listener = silence,
) -> Replay:
    """Run ``recipe`` as it is, with each switch that concerns its task, and with all of them.

    Stopped at any moment, the same call goes on from there. Arguments as :func:`unshift.experiment.run.run`.

    Raises:
        ConfigError: the recipe has a switch on already.
    """
    task = open_dataset(recipe.dataset.name, root, recipe.dataset.settings).task
    plan = variants(recipe, protocol, task)
    results = {
        switch: run(variant, root=root, runs=runs, devices=devices, listener=listener)
        for switch, variant in plan.items()
    }
    found = table({switch: result.scores for switch, result in results.items()}, config=recipe.evaluate)
    file = results[HONEST].folder / "tables" / f"{protocol}.csv"
    write_whole(file, lambda draft: found.to_csv(draft, index=False, lineterminator="\n"))
    return Replay(results, found, file)


def variants(recipe: Recipe, protocol: Protocol, task: Task) -> dict[str, Recipe]:
    """``honest``, each switch alone, ``all``: recipes whose names end in the switch's.

    Left out are switches that cannot concern the task: thresholds on volumes (the authors take the most probable class
    there) and on regions that do not contain one another; slices and voxels of pictures.

    Raises:
        ConfigError: a switch is on in ``recipe``.
    """
    plain: dict[str, Any] = recipe.model_dump(mode="json", exclude_defaults=True)
    switches = {name: change for name, change in _SWITCHES[protocol].items() if _concerns(name, task)}
    for name, change in switches.items():
        if _changed(plain, change) == plain:
            raise ConfigError(
                f"recipe {recipe.name!r}: has the switch {name} of {protocol} on; the honest side needs it off. "
                f"Remove {change} from it."
            )
    changes = {name: [change] for name, change in switches.items()} | {ALL: list(switches.values())}
    found = {HONEST: recipe}
    for name, parts in changes.items():
        document = {**plain, "name": f"{recipe.name}-{protocol}-{name}"}
        for part in parts:
            document = _changed(document, part)
        found[name] = parse_recipe(document, where=f"{recipe.name} with {name} of {protocol}")
    return found


def table(scores: Mapping[str, pd.DataFrame], *, config: EvaluateConfig) -> pd.DataFrame:
    """What each switch changes on unseen domains, pipeline by pipeline.

    Args:
        scores: switch -> rows of :class:`unshift.sample.Score`; ``honest`` is among them.
        config: resamples and confidence.

    Returns:
        Columns pipeline, switch, region, metric, unit (of the replay), honest and replayed (means over domains of the
        means over cases), difference with its interval low … high (paired by case, patients resampled), n (cases).
        The difference is NaN where the unit changed: mm and voxels are not subtracted.
    """
    honest = scores[HONEST]
    means = {switch: _means(frame, config) for switch, frame in scores.items()}
    rows: list[dict[str, Any]] = []
    for switch in (name for name in scores if name != HONEST):
        for (pipeline, region, metric), row in means[switch].iterrows():
            before = means[HONEST].loc[(pipeline, region, metric)]
            cells = {"honest": before["mean"], "replayed": row["mean"], "unit": row["unit"], "n": int(row["n_scored"])}
            rows.append({"pipeline": pipeline, "switch": switch, "region": region, "metric": metric, **cells})
    found = pd.DataFrame(rows)
    made = pd.concat([_differences(honest, f, s, config) for s, f in scores.items() if s != HONEST])
    joined = found.merge(made, how="left", on=["pipeline", "switch", "region", "metric"])
    return joined.loc[:, list(_COLUMNS)]


def _means(frame: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    rows = pooled(frame[~frame["seen"]], config=config)
    return rows.set_index(["pipeline", "region", "metric"])


def _differences(honest: pd.DataFrame, other: pd.DataFrame, switch: str, config: EvaluateConfig) -> pd.DataFrame:
    """Mean of replayed minus honest over unseen domains, with its interval; without metrics whose unit changed."""
    units = [dict(zip(frame["metric"], frame["unit"], strict=True)) for frame in (honest, other)]
    same = [metric for metric in units[0] if METRICS[metric].length is False or units[0] == units[1]]
    parts = []
    for pipeline in honest["pipeline"].unique():
        both = [
            frame[(frame["pipeline"] == pipeline) & frame["metric"].isin(same) & ~frame["seen"]].assign(pipeline=name)
            for name, frame in ((HONEST, honest), (switch, other))
        ]
        pairs = differences(pd.concat([part.assign(run="") for part in both], ignore_index=True), HONEST)
        pairs = pairs.assign(prediction_voxels=0, reference_voxels=0, note="", run="", dataset="")
        parts.append(pooled(pairs, config=config).assign(pipeline=pipeline, switch=switch))
    made = pd.concat(parts, ignore_index=True).rename(columns={"mean": "difference"})
    made[["difference", "low", "high"]] = made[["difference", "low", "high"]].astype(np.float64)
    return made[["pipeline", "switch", "region", "metric", "difference", "low", "high"]]


def _concerns(switch: str, task: Task) -> bool:
    volumes = task.spatial_dims == 3
    if switch in ("slices", "distances"):
        return volumes
    if switch != "threshold":
        return True
    try:
        nested(task)
    except ConfigError:
        return False
    return not volumes


def _changed(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with ``change`` in it, mapping by mapping."""
    result = dict(document)
    for key, value in change.items():
        result[key] = _changed(result.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
