"""Train one pipeline of a recipe and write a bundle that `unshift predict` takes."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.console import Bars, emit, guarded, output
from unshift.errors import UnknownName
from unshift.evaluate.protocol import Fold
from unshift.experiment.deployment import Accelerator
from unshift.experiment.events import Job, silence
from unshift.experiment.preflight import preflight
from unshift.experiment.record import is_first_process
from unshift.experiment.run import prepare
from unshift.experiment.testing import bundle_path, make_bundle
from unshift.experiment.training import train as train_pipeline
from unshift.experiment.training import train_jobs
from unshift.export.bundle import save_bundle
from unshift.recipe import read_recipe
from unshift.train.devices import Devices

EXAMPLE = "Example: [bold]unshift train recipes/polyp/quick.yaml --data path/to/polyp --pipeline augmented[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train", help=__doc__, epilog=EXAMPLE)(train)


@guarded
def train(
    recipe: Path = typer.Argument(help="A recipe, YAML.", show_default=False),
    pipeline: str = typer.Option("", help="Which pipeline; default: the recipe's baseline."),
    data: Path | None = typer.Option(None, help="The dataset's folder; not needed for phantoms."),
    runs: Path = typer.Option(Path("runs"), help="Where run folders and trainings are kept."),
    fold: str = typer.Option("", help="Which fold; default: the first."),
    seed: int | None = typer.Option(None, help="Default: the recipe's first seed."),
    settings: list[str] = typer.Option([], "--set", help="key.key=value in place of the recipe's; may be repeated."),
    precision: str = typer.Option("", help="auto, 32, bf16-mixed or 16-mixed; default: the recipe's."),
    max_minutes: float | None = typer.Option(None, help="Stop training after this many minutes in all."),
    accelerator: Accelerator = typer.Option("auto", help="Where to compute."),
    devices: int = typer.Option(1, help="Processes or accelerators; more than one trains with DDP."),
    nodes: int = typer.Option(1, help="Machines; the launcher (torchrun, SLURM) starts this command on each."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, train nothing."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Train one pipeline of a recipe."""
    extra = [f"train.precision={precision!r}"] if precision else []
    extra += [f"train.max_minutes={max_minutes}"] if max_minutes is not None else []
    loaded = read_recipe(recipe, overrides=[*settings, *extra])
    name = pipeline or loaded.baseline
    if name not in loaded.pipelines:
        raise UnknownName("pipeline", name, loaded.pipelines, where=str(recipe))
    where = Devices(accelerator=accelerator, devices=devices, num_nodes=nodes)
    current, plan = prepare(loaded, root=data, runs=runs, devices=where, record=False)
    chosen = _fold(plan, fold)
    number = loaded.seeds[0] if seed is None else seed
    preflight(current, [chosen], pipelines=[name], pretrained=not dry_run)
    work: list[Job] = train_jobs(current, name, chosen, seed=number)
    if dry_run and as_json:
        emit(vars(work[-1]))
        return
    if dry_run:
        for job in work:
            output.print(f"{job.name}: {job.total} steps, {len(chosen.train)} cases, key {job.key}.")
        output.print("Nothing was trained.")
        return
    with Bars(work) as bars:
        current, _ = prepare(
            loaded, root=data, runs=runs, devices=where, listener=bars if is_first_process() else silence
        )
        training = train_pipeline(current, name, chosen, seed=number)
    if not is_first_process():
        return
    path = bundle_path(current.folder, name, chosen.name, number)
    save_bundle(path, make_bundle(current, name, chosen, training, seed=number))
    if as_json:
        emit({"bundle": str(path), "training": training.key, "selected_step": training.step, **vars(training.trained)})
        return
    output.print(f"Stopped by: {training.trained.stopped}. Selected: step {training.step}.", highlight=False)
    output.print(f"Bundle: {path}", soft_wrap=True, highlight=False)


def _fold(plan: list[Fold], name: str) -> Fold:
    by_name = {fold.name: fold for fold in plan}
    if name and name not in by_name:
        raise UnknownName("fold", name, by_name, where="--fold")
    return by_name[name] if name else plan[0]
