"""Train on built-in ultrasound phantoms of vendor A, score on vendors A, B and C, write a report. No download."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.bench import show_result
from unshift.cli.console import Bars, guarded, messages
from unshift.experiment.run import jobs, prepare
from unshift.experiment.run import run as run_recipe
from unshift.recipe import read_recipe

RECIPE = Path(__file__).with_name("demo.yaml")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", help=__doc__, epilog="Example: [bold]unshift demo[/bold]")(demo)


@guarded
def demo(
    runs: Path = typer.Option(Path("runs"), help="Where the run is kept."),
    settings: list[str] = typer.Option([], "--set", help="key.key=value in place of the recipe's; may be repeated."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Show in a few minutes how a segmentation breaks on another vendor, and what repairs it."""
    recipe = read_recipe(RECIPE, overrides=settings)
    messages.print(recipe.description, highlight=False)
    current, plan = prepare(recipe, root=None, runs=runs)
    with Bars(jobs(current, plan)) as bars:
        result = run_recipe(recipe, runs=runs, listener=bars)
    show_result(result, as_json=as_json)
