"""Run a recipe from data to report: split, train, predict, score, compare. Stop it any time; it goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import typer

from unshift.cli.complexity import WORD, complexity
from unshift.cli.console import Bars, emit, estimate, guarded, output, table
from unshift.config import to_plain, to_yaml
from unshift.errors import ConfigError
from unshift.evaluate.protocol import Fold
from unshift.experiment.deployment import Accelerator
from unshift.experiment.events import Job
from unshift.experiment.members import used_members
from unshift.experiment.preflight import preflight
from unshift.experiment.record import Run
from unshift.experiment.replay import ALL, HONEST, Protocol, marks, planned, replay, variants
from unshift.experiment.run import Result, execute, jobs, prepare
from unshift.metrics.policy import METRICS
from unshift.recipe import Recipe, read_recipe
from unshift.train.devices import Devices

EXAMPLE = "Example: [bold]unshift bench recipes/polyp/quick.yaml --data path/to/polyp[/bold]"

PANEL = "With the word complexity"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench", help=__doc__, epilog=EXAMPLE)(bench)


@guarded
def bench(
    recipe: Path = typer.Argument(help="A recipe, YAML, or the word complexity: costs.", show_default=False),
    data: Path | None = typer.Option(None, help="The dataset's folder; not needed for phantoms."),
    runs: Path = typer.Option(Path("runs"), help="Where run folders and trainings are kept."),
    settings: list[str] = typer.Option([], "--set", help="key.key=value in place of the recipe's; may be repeated."),
    accelerator: Accelerator = typer.Option("auto", help="Where to compute."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, show the plan, train nothing."),
    protocol: Protocol | None = typer.Option(None, "--replay", help="Also as a paper's released code tests it."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
    size: int | None = typer.Option(None, min=16, help="Side of the image, 400 unless told.", rich_help_panel=PANEL),
    full: bool = typer.Option(False, "--full", help="Time slow repairs to their end.", rich_help_panel=PANEL),
) -> None:
    """Run a recipe from data to report."""
    if str(recipe) == WORD:
        if data or settings or dry_run or protocol:
            raise ConfigError(
                f"--data, --set, --dry-run, --replay: found with the word {WORD}; they belong to a recipe."
            )
        complexity(size=size, full=full, accelerator=accelerator, as_json=as_json)
        return
    if size or full:
        raise ConfigError(f"--size, --full: found with the recipe {recipe}; they belong to `unshift bench {WORD}`.")
    loaded = read_recipe(recipe, overrides=settings)
    devices = Devices(accelerator=accelerator)
    record = not dry_run and protocol is None  # a replay writes its own, once its switches are known to be off
    current, plan = prepare(loaded, root=data, runs=runs, devices=devices, record=record)
    tried = variants(loaded, protocol, current.dataset.task) if protocol else {}
    work = planned(current, plan, tried) if protocol else jobs(current, plan)
    if dry_run:
        preflight(current, plan, pretrained=False)
        show_plan(current, plan, work, as_json=as_json)
        if protocol and not as_json:
            show_switches(protocol, {name: " ".join(marks(v)) for name, v in tried.items() if name != HONEST})
        return
    if protocol:
        show_replay(current, protocol, work, root=data, as_json=as_json)
        return
    with Bars(work) as bars:
        result = execute(replace(current, listener=bars), plan)
    show_result(result, as_json=as_json)


def show_plan(current: Run, plan: list[Fold], work: list[Job], *, as_json: bool) -> None:
    """What the run would do."""
    if as_json:
        used = [asdict(one) for one in used_members(current.recipe)]
        emit({"recipe": to_plain(current.recipe), "members": used, "jobs": [vars(job) for job in work]})
        return
    output.print(to_yaml(current.recipe), markup=False, highlight=False, soft_wrap=True)
    show_members(current.recipe)
    rows = [
        (f.name, ", ".join(f.sources), ", ".join(f.targets), *(str(len(c)) for c in (f.train, f.validation, f.test)))
        for f in plan
    ]
    table("jobs", ("job", "times", "in all"), _grouped(work, {f.name for f in plan}))
    table("folds", ("fold", "sources", "unseen", "train", "validation", "test"), rows)
    counts = {kind: [job.total for job in work if job.kind == kind] for kind in ("train", "test")}
    trained, tested = counts["train"], counts["test"]
    output.print(
        f"{len(trained)} trainings of {sum(trained):,} steps in all, {len(tested)} tests of {sum(tested):,} cases; "
        "--json lists each.",
        highlight=False,
    )
    output.print("Dry run: nothing was trained or written.")


def _grouped(work: list[Job], folds: set[str]) -> list[tuple[str, str, str]]:
    """What is done, how often (folds × seeds), and how many steps or cases that is."""
    groups: dict[str, list[Job]] = {}
    for job in work:
        parts = [part for part in job.name.split(" · ") if part not in folds and not part.startswith("seed ")]
        groups.setdefault(" · ".join(parts), []).append(job)
    return [
        (name, str(len(jobs)), f"{sum(job.total for job in jobs):,} {'steps' if jobs[0].kind == 'train' else 'cases'}")
        for name, jobs in groups.items()
    ]


def show_members(recipe: Recipe) -> None:
    """What every member of the recipe will be built with, defaults included, once for the pipelines that share it."""
    output.print("members with all their settings, defaults included:", highlight=False)
    for used in used_members(recipe):
        who = "all pipelines" if len(used.pipelines) == len(recipe.pipelines) else ", ".join(used.pipelines)
        settings = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in used.settings.items())
        line = f"  {used.family} {used.name} ({who}): {settings or 'no settings'}"
        output.print(line, markup=False, highlight=False, soft_wrap=True)


def show_replay(current: Run, protocol: Protocol, work: list[Job], *, root: Path | None, as_json: bool) -> None:
    """Run the recipe under both protocols; what each switch changes, and where the reports are."""
    with Bars(work) as bars:
        done = replay(
            current.recipe, protocol, root=root, runs=current.folder.parent, devices=current.devices, listener=bars
        )
    if as_json:
        reports = {switch: str(result.report) for switch, result in done.results.items()}
        emit({"table": str(done.file), "reports": reports, "switches": done.table.to_dict(orient="records")})
        return
    for (region, metric), part in done.table.groupby(["region", "metric"], sort=False):
        points = 100 if METRICS[metric].better == "higher" else 1
        unit = "points" if points == 100 else part["honest_unit"].iloc[0]
        lines = []
        for row in part.itertuples():
            interval = estimate(points * row.difference, points * row.low, points * row.high, "+.1f")
            difference = interval if row.unit == row.honest_unit else f"in {row.unit}, not {row.honest_unit}"
            lines.append(
                (row.pipeline, row.switch, f"{points * row.honest:.1f}", f"{points * row.replayed:.1f}", difference)
            )
        header = ("pipeline", protocol, "honest", "replayed", "difference")
        table(f"{metric} of {region}, unseen domains, {unit}", header, lines)
    show_switches(protocol, dict(zip(done.table["switch"], done.table["replay"], strict=True)))
    output.print(f"\nTable: {done.file}", soft_wrap=True, highlight=False)
    for switch, result in done.results.items():
        output.print(f"Report, {switch}: {result.report}", soft_wrap=True, highlight=False)


def show_switches(protocol: Protocol, marks: Mapping[str, str]) -> None:
    """What every switch of a protocol does."""
    output.print(f"\nREPLAY of {protocol}, not our protocol:", highlight=False)
    for switch, said in marks.items():
        if switch != ALL:
            output.print(f"  {switch}: {said}", highlight=False)


def show_result(result: Result, *, as_json: bool) -> None:
    """The headline table and where the report is."""
    if as_json:
        tables = {"summary": result.summary, "comparisons": result.comparisons}
        tables |= {"pooled": result.pooled, "pooled_comparisons": result.pooled_comparisons}
        records = {name: frame.to_dict(orient="records") for name, frame in tables.items()}
        emit({"folder": str(result.folder), "report": str(result.report), **records})
        return
    show_summary(result)
    output.print(f"\nReport: {result.report}", soft_wrap=True, highlight=False)


def show_summary(result: Result) -> None:
    """Mean of the primary metric with its interval: unseen domains, all of them together, then domains trained on."""
    metric = result.scores["metric"].iloc[0]
    points = 100 if METRICS[metric].better == "higher" else 1
    frame = pd.concat([one for one in (result.summary, result.pooled) if len(one)], ignore_index=True)
    rows = frame[frame["metric"] == metric]
    for region, part in rows.groupby("region", sort=False):
        places = dict.fromkeys(zip(part["domain"], part["seen"], strict=True))
        domains = sorted(places, key=lambda place: bool(place[1]))
        header = ["pipeline", *(f"{domain}{' (seen)' if seen else ''}" for domain, seen in domains)]
        lines = []
        for pipeline, row in part.groupby("pipeline", sort=False):
            cells = {
                (r.domain, r.seen): estimate(points * r.mean, points * r.low, points * r.high) for r in row.itertuples()
            }
            lines.append([str(pipeline), *(cells.get(key, "—") for key in domains)])
        table(f"{metric} of {region}, {'points' if points == 100 else 'mm or px'}, with intervals", header, lines)
