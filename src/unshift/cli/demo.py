"""Train on built-in ultrasound phantoms of vendor A, score on vendors A, B and C, write a report. No download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from unshift.cli.bench import show_plan, show_result
from unshift.cli.console import Bars, guarded, messages
from unshift.experiment.run import execute, jobs, prepare
from unshift.recipe import read_recipe

RECIPE = Path(__file__).with_name("demo.yaml")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", help=__doc__, epilog="Example: [bold]unshift demo[/bold]")(demo)


@guarded
def demo(
    runs: Path = typer.Option(Path("runs"), help="Where the run is kept."),
    settings: list[str] = typer.Option([], "--set", help="key.key=value in place of the recipe's; may be repeated."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan, train nothing."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Show in a few minutes how a segmentation breaks on another vendor, and what repairs it."""
    recipe = read_recipe(RECIPE, overrides=settings)
    current, plan = prepare(recipe, root=None, runs=runs, record=not dry_run)
    if dry_run:
        show_plan(current, plan, jobs(current, plan), as_json=as_json)
        return
    messages.print(recipe.description, highlight=False)
    with Bars(jobs(current, plan)) as bars:
        result = execute(replace(current, listener=bars), plan)
    show_result(result, as_json=as_json)
