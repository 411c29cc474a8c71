"""Look at data before it is used: `data check` lists every problem, `data show` draws a contact sheet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from unshift.audit.check import census
from unshift.audit.check import check as check_dataset
from unshift.audit.show import show as show_dataset
from unshift.cli.console import emit, guarded, output, table
from unshift.contracts import Dataset
from unshift.datasets.opening import open_dataset

FOUND = 1


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    data = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich")
    data.command("check", epilog="Example: [bold]unshift data check path/to/polyp[/bold]")(check)
    data.command("show", epilog="Example: [bold]unshift data show path/to/polyp --output sheet.png[/bold]")(show)
    app.add_typer(data, name="data")


@guarded
def check(
    path: Path = typer.Argument(help="A dataset's folder.", show_default=False),
    dataset: str = typer.Option("", help="The dataset's name (`unshift list datasets`); default: by its layout."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """List every problem at once, each with its file and its remedy. Exit code 1 when there is an error."""
    opened = _open(path, dataset)
    seen = census(opened)
    problems = check_dataset(opened)
    errors = [p for p in problems if p.severity == "error"]
    if as_json:
        domains = {name: {"cases": cases, "patients": patients} for name, (cases, patients) in seen.items()}
        emit({"domains": domains, "errors": len(errors), "problems": [p.to_dict() for p in problems]})
    else:
        rows = [(name, str(cases), str(patients)) for name, (cases, patients) in seen.items()]
        table(type(opened).__module__.rpartition(".")[2], ("domain", "cases", "patients"), rows)
        for problem in problems:
            output.print(f"[bold]{problem.severity}[/bold] ", end="")
            output.print(str(problem), markup=False, highlight=False, soft_wrap=True)
        counts = Counter(p.severity for p in problems)
        output.print(f"{counts['error']} error(s), {counts['warning']} warning(s), {counts['count']} count(s).")
    if errors:
        raise typer.Exit(FOUND)


@guarded
def show(
    path: Path = typer.Argument(help="A dataset's folder.", show_default=False),
    dataset: str = typer.Option("", help="The dataset's name (`unshift list datasets`); default: by its layout."),
    output_file: Path = typer.Option(Path("sheet.png"), "--output", "-o", help="The picture."),
    examples: int = typer.Option(6, min=1, max=20, help="Cases shown of each domain."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Draw a contact sheet: examples with outlines, and the histograms of each domain."""
    written = show_dataset(_open(path, dataset), output_file, examples=examples)
    if as_json:
        emit({"sheet": str(written)})
        return
    output.print(f"Contact sheet: {written}", soft_wrap=True, highlight=False)


def _open(path: Path, name: str) -> Dataset:
    return open_dataset(name, path) if name else open_dataset(path)
