"""Write a run's report again from what the run folder holds."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.console import emit, guarded, output
from unshift.experiment.run import report_again

EXAMPLE = "Example: [bold]unshift report runs/demo[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report", help=__doc__, epilog=EXAMPLE)(report)


@guarded
def report(
    run: Path = typer.Argument(help="A run folder.", show_default=False),
    data: Path | None = typer.Option(None, help="The dataset's folder, if it has moved since."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Write a run's report again."""
    result = report_again(run, root=data)
    if as_json:
        emit({"report": str(result.report)})
        return
    output.print(f"Report: {result.report}", soft_wrap=True, highlight=False)
