"""The spine: a recipe becomes a verdict. One function a line of the flow; nothing calls back up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unshift import discover
from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError, ProtocolError
from unshift.evaluate.cases import by_domain
from unshift.evaluate.comparison import compare
from unshift.evaluate.fold import domain_order
from unshift.evaluate.protocol import Fold, folds, read_split, require, write_split
from unshift.evaluate.score import read_scores, write_scores
from unshift.evaluate.select import RULES
from unshift.evaluate.statistics import all_unseen, summarize
from unshift.experiment.events import Job, Listener, silence
from unshift.experiment.evidence import collect
from unshift.experiment.plugging import identity_of_plugins
from unshift.experiment.preflight import naming, preflight
from unshift.experiment.record import Run, open_run, read_run
from unshift.experiment.selecting import require_translation, require_validations
from unshift.experiment.staging import begin
from unshift.experiment.testing import job_name, test
from unshift.experiment.training import adaptation, build_objective, train, train_jobs
from unshift.recipe import Recipe
from unshift.report.page import write_report
from unshift.sample import Task
from unshift.train.devices import Devices


@dataclass(frozen=True)
class Result:
    """What a run leaves: the folder, the report, and the tables as data frames.

    Args:
        scores: as stored.
        summary, comparisons: by domain, in the order of the recipe or the dataset.
        pooled, pooled_comparisons: the same over all unseen domains; without a row where these are not two or more.
    """

    folder: Path
    report: Path
    scores: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    pooled: pd.DataFrame
    pooled_comparisons: pd.DataFrame

    def table(self, metric: str = "dice") -> pd.DataFrame:
        """``mean [low, high]`` of a metric: pipelines and regions by domain; *seen* marks those trained on."""
        rows = self.summary[self.summary["metric"] == metric]
        cells = rows[["mean", "low", "high"]].map("{:.3f}".format)
        shown = rows.assign(
            score=cells["mean"] + " [" + cells["low"] + ", " + cells["high"] + "]",
            place=rows["domain"] + rows["seen"].map({True: " (seen)", False: ""}),
        )
        table = shown.pivot(index=["pipeline", "region"], columns="place", values="score")
        return table.loc[:, list(dict.fromkeys(shown["place"]))].rename_axis(columns=None)


def run(
    recipe: Recipe,
    *,
    root: Path | None = None,
    runs: Path = Path("runs"),
    devices: Devices | None = None,
    listener: Listener = silence,
) -> Result:
    """Run a recipe from data to report.

    Stopped at any moment, the same call goes on from there: finished trainings and scores are not repeated.

    Args:
        recipe: what to do.
        root: the dataset's folder; None for generated data.
        runs: where run folders and the store of trainings lie.
        devices: where to compute; default: one accelerator if there is one, else the CPU.
        listener: is told about progress.

    Raises:
        UnshiftError: a recipe, a file or a number that is wrong; the message says what to do.
    """
    return execute(*prepare(recipe, root=root, runs=runs, devices=devices, listener=listener))


def execute(current: Run, plan: list[Fold]) -> Result:
    """What :func:`run` does once everything is prepared."""
    keep_split(current, plan)
    preflight(current, plan)
    parts = []
    for fold in plan:
        for seed in current.recipe.seeds:
            for pipeline in current.pipelines(fold):
                with naming(pipeline):
                    training = train(current, pipeline, fold, seed=seed)
                    parts.append(test(current, pipeline, fold, training, seed=seed))
    scores = pd.concat(parts, ignore_index=True)
    write_scores(current.folder / "scores.parquet", scores)
    return conclude(current, plan, scores)


def require_selection(recipe: Recipe, task: Task, plan: list[Fold]) -> None:
    """Raise before the first training for weights that the recipe's selection rule could not choose among.

    Raises:
        ProtocolError: the rule needs validations, or an objective that translates, and would have none.
    """
    require_validations(recipe, plan)
    for pipeline in recipe.pipelines if recipe.selection == "translated_validation" else ():
        settings: dict[str, Any] = {"sources": plan[0].sources, "seed": recipe.seeds[0], "pretrained": False}
        objective = build_objective(recipe, pipeline, task, **settings)
        require_translation(objective, recipe=recipe, pipeline=pipeline)


def require_stages(recipe: Recipe, task: Task, plan: list[Fold]) -> None:
    """Raise for a pipeline that cannot begin from the one that it comes after.

    Raises:
        ConfigError: nothing is taken, nothing is given, or settings differ.
    """
    settings: dict[str, Any] = {"sources": plan[0].sources, "seed": recipe.seeds[0], "pretrained": False}
    for name, pipeline in recipe.pipelines.items():
        if pipeline.after is not None:
            first, later = (build_objective(recipe, row, task, **settings) for row in (pipeline.after, name))
            begin(later, first, recipe=recipe, pipeline=name)


def require_sources(recipe: Recipe, plan: list[Fold]) -> None:
    """Raise before the first training for a fold, or a batch, without the domains that an objective needs.

    Raises:
        ProtocolError: too few sources, no target to adapt to, or sampling that may fill a batch from one source.
    """
    for fold in plan:
        for name in [recipe.baseline] if fold.kind == "upper_bound" else recipe.pipelines:
            objective = recipe.pipelines[name].objective.name
            setting = discover.load("objectives", objective).setting
            require(setting, fold, objective=objective)
            if setting.least_sources > 1 and recipe.train_of(name).sampling != "balanced":
                raise ProtocolError(
                    f"Pipeline {name!r}: objective {objective} needs {setting.least_sources} source domains in every "
                    "batch; with train.sampling 'pooled' one may hold fewer. Set train.sampling: balanced."
                )


def keep_split(current: Run, plan: list[Fold]) -> None:
    """Store the split, or check that the stored one is the plan's.

    Raises:
        ProtocolError: the run was begun with another split; patients would change sides between its parts.
    """
    path = current.folder / "split.json"
    if not path.exists():
        write_split(path, plan)
    elif read_split(path, current.dataset) != plan:
        raise ProtocolError(
            f"{path}: is another split than this version makes. Remove the run folder, or rename the recipe."
        )


def conclude(current: Run, plan: list[Fold], scores: pd.DataFrame) -> Result:
    """Scores -> summary, comparison, report: the part that `unshift report` repeats."""
    config, baseline = current.recipe.evaluate, current.recipe.baseline
    rows = by_domain(scores, domain_order(plan))
    tables = (summarize(rows, config=config), compare(rows, baseline=baseline, config=config))
    together = all_unseen(rows, baseline=baseline, config=config)
    page = write_report(current.folder, collect(current, plan, rows, *tables, *together))
    return Result(current.folder, page, scores, *tables, *together)


def report_again(folder: Path, *, root: Path | None = None) -> Result:
    """Write the report of a run folder again; ``root`` says where the dataset is now, if it has moved.

    Raises:
        ConfigError: not a run folder, or the run has no scores yet.
    """
    recipe, record = read_run(folder)
    if not (folder / "scores.parquet").is_file():
        raise ConfigError(f"{folder}: the run has no scores yet (no scores.parquet). Let `unshift bench` finish it.")
    place = root or (Path(record["root"]) if record["root"] else None)
    current, plan = prepare(recipe, root=place, runs=folder.parent)
    return conclude(current, plan, read_scores(folder / "scores.parquet"))


def prepare(
    recipe: Recipe,
    *,
    root: Path | None,
    runs: Path,
    devices: Devices | None = None,
    listener: Listener = silence,
    record: bool = True,
) -> tuple[Run, list[Fold]]:
    """Open the data, split it, write the record (unless told not to): all that can be wrong before the first step."""
    dataset = open_dataset(recipe.dataset.name, root, recipe.dataset.settings)
    adapts = any(adaptation(pipeline.objective) for pipeline in recipe.pipelines.values())
    adapts = adapts or RULES[recipe.selection].needs_unlabeled
    plan = folds(dataset, recipe.protocol, seed=recipe.seeds[0], adapts=adapts)
    require_sources(recipe, plan)
    require_selection(recipe, dataset.task, plan)
    require_stages(recipe, dataset.task, plan)
    for pipeline in recipe.pipelines:
        identity_of_plugins(recipe, pipeline)  # raises where photographs are missing
    return open_run(recipe, dataset, runs, devices=devices, listener=listener, record=record), plan


def jobs(current: Run, plan: list[Fold]) -> list[Job]:
    """What the run will do, in order; shared trainings stand once."""
    planned: dict[str, Job] = {}
    for fold in plan:
        for seed in current.recipe.seeds:
            for pipeline in current.pipelines(fold):
                for job in train_jobs(current, pipeline, fold, seed=seed):
                    planned.setdefault(job.key, job)
                name = job_name(pipeline, fold, seed)
                planned[name] = Job(name, "test", len(fold.test), name)
    return list(planned.values())
