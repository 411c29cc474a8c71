"""A published protocol beside ours: each of its switches alone, all together, and the difference that each makes.

``ram_dsir_2022`` is what the released code of RAM-DSIR does when it tests. Runs share their trainings, so that a switch
changes nothing but itself; only ``checkpoint`` needs trainings that kept the weights of every validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from unshift.config import to_plain
from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError
from unshift.evaluate.comparison import differences
from unshift.evaluate.files import write_whole
from unshift.evaluate.fold import Fold
from unshift.evaluate.replay import replayed
from unshift.evaluate.score import EvaluateConfig
from unshift.evaluate.statistics import pooled
from unshift.experiment.events import Job, Listener, silence
from unshift.experiment.record import Run
from unshift.experiment.run import Result, jobs, run
from unshift.metrics.policy import METRICS
from unshift.predict.threshold import nested
from unshift.recipe import Recipe, parse_recipe
from unshift.report.caption import ORACLE
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
_VALUES = ("honest", "honest_unit", "replayed", "unit", "difference", "low", "high", "n")
_COLUMNS = ("pipeline", "switch", "region", "metric", *_VALUES)


@dataclass(frozen=True)
class Replay:
    """What :func:`replay` did.

    Args:
        results: runs by switch, ``honest`` first, ``all`` last.
        table: :func:`table` of them, with the column ``replay``: the marks of the row's switch.
        file: the same as CSV.
    """

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
        switch: run(variant, root=root, runs=runs, devices=devices, listener=_named(switch, listener))
        for switch, variant in plan.items()
    }
    found = table({switch: result.scores for switch, result in results.items()}, config=recipe.evaluate)
    found["replay"] = found["switch"].map({switch: " ".join(marks(variant)) for switch, variant in plan.items()})
    file = results[HONEST].folder / "tables" / f"{protocol}.csv"
    write_whole(file, lambda draft: found.to_csv(draft, index=False, lineterminator="\n"))
    return Replay(results, found, file)


def planned(current: Run, plan: list[Fold], recipes: Mapping[str, Recipe]) -> list[Job]:
    """The jobs of all recipes of :func:`variants`, named after the switch; a shared training stands once."""
    found: dict[str, Job] = {}
    for switch, recipe in recipes.items():
        variant = replace(current, recipe=recipe, folder=current.folder.with_name(recipe.name))
        for job in jobs(variant, plan):
            key = job.key if job.kind == "train" else f"{switch} {job.key}"
            found.setdefault(key, replace(job, name=_name(switch, job.name)))
    return list(found.values())


def _name(switch: str, job: str) -> str:
    return f"{switch} · {job}"


def _named(switch: str, listener: Listener) -> Listener:
    return lambda event: listener(replace(event, job=_name(switch, event.job)))


def variants(recipe: Recipe, protocol: Protocol, task: Task) -> dict[str, Recipe]:
    """``honest``, each switch alone, ``all``: recipes whose names and descriptions end in the switch's.

    Left out are switches that cannot concern the task: thresholds on volumes (the authors take the most probable class
    there) and on regions that do not contain one another; slices and voxels of pictures.

    Raises:
        ConfigError: a switch is on in ``recipe``; of volumes it lacks the metric ``asd``, which the protocol reports.
    """
    plain: dict[str, Any] = to_plain(recipe)  # written out: a default of a pipeline may not be one of the recipe's
    switches = {name: change for name, change in _SWITCHES[protocol].items() if _concerns(name, task)}
    for name, change in switches.items():
        if _switched(plain, change) == plain:
            raise ConfigError(
                f"recipe {recipe.name!r}: has the switch {name} of {protocol} on; the honest side needs it off. "
                f"Remove {change} from it."
            )
    if task.spatial_dims == 3 and "asd" not in recipe.evaluate.metrics:
        raise ConfigError(
            f"recipe {recipe.name!r}: evaluate.metrics is {list(recipe.evaluate.metrics)}; {protocol} reports the "
            "one-directional distance asd. Add asd to it."
        )
    changes = {name: [change] for name, change in switches.items()} | {ALL: list(switches.values())}
    found = {HONEST: recipe}
    for name, parts in changes.items():
        said = f"{recipe.description or recipe.name} [replay of {protocol}: {name}]"
        document = {**plain, "name": f"{recipe.name}-{protocol}-{name}", "description": said}
        for part in parts:
            document = _switched(document, part)
        found[name] = parse_recipe(document, where=f"{recipe.name} with {name} of {protocol}")
    return found


def marks(recipe: Recipe) -> tuple[str, ...]:
    """One sentence for each thing in which a recipe leaves the honest protocol."""
    oracle = (ORACLE,) if recipe.selection == "oracle" else ()
    return (*replayed(recipe.predict, recipe.evaluate), *oracle)


def table(scores: Mapping[str, pd.DataFrame], *, config: EvaluateConfig) -> pd.DataFrame:
    """What each switch changes on unseen domains, pipeline by pipeline.

    Args:
        scores: switch -> rows of :class:`unshift.sample.Score`; ``honest`` is among them.
        config: resamples and confidence.

    Returns:
        Columns pipeline, switch, region, metric; honest and replayed (means over domains of the means over cases), each
        with its unit; difference with its interval low … high (paired by case, patients resampled); n (cases). The
        difference is NaN where the unit changed: mm and voxels are not subtracted.
    """
    honest = scores[HONEST]
    means = {switch: _means(frame, config) for switch, frame in scores.items()}
    rows: list[dict[str, Any]] = []
    for switch in (name for name in scores if name != HONEST):
        for (pipeline, region, metric), row in means[switch].iterrows():
            before = means[HONEST].loc[(pipeline, region, metric)]
            cells = {"honest": before["mean"], "honest_unit": before["unit"], "replayed": row["mean"]}
            cells |= {"unit": row["unit"], "n": int(row["n_scored"])}
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


def _switched(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with ``change`` in it, and in the pipelines that have training settings of their own."""
    result = _changed(document, change)
    own = {"train": change["train"]} if "train" in change else {}
    rows = {name: _changed(row, own) if row["train"] else row for name, row in result["pipelines"].items()}
    return {**result, "pipelines": rows}


def _changed(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with ``change`` in it, mapping by mapping."""
    result = dict(document)
    for key, value in change.items():
        result[key] = _changed(result.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
