"""Look at data before it is used: `data prepare` a download, `data check` lists every problem, `data show` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.progress import Progress

from unshift.audit.check import census
from unshift.audit.check import check as check_dataset
from unshift.audit.show import show as show_dataset
from unshift.cli.console import emit, guarded, messages, output, table
from unshift.contracts import Card, Dataset
from unshift.datasets.opening import open_dataset, preparable
from unshift.datasets.prepared import PreparedFolders
from unshift.datasets.preparing import Preparation
from unshift.datasets.preparing import prepare as prepare_dataset
from unshift.datasets.problem import Problem
from unshift.errors import UnknownName

FOUND = 1


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    data = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich")
    data.command("check", epilog="Example: [bold]unshift data check path/to/polyp[/bold]")(check)
    data.command("show", epilog="Example: [bold]unshift data show path/to/polyp --output sheet.png[/bold]")(show)
    data.command(
        "prepare", epilog="Example: [bold]unshift data prepare fundus --from path/to/download --output fundus[/bold]"
    )(prepare)
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
        _show_problems(problems)
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


@guarded
def prepare(
    name: str = typer.Argument(help="The dataset (`unshift list datasets`).", show_default=False),
    source: Path = typer.Option(..., "--from", help="The unpacked download; it is only read.", show_default=False),
    output_folder: Path | None = typer.Option(None, "--output", "-o", help="Default: DOWNLOAD-prepared, beside it."),
    accept_leak: bool = typer.Option(False, "--accept-leak", help="Go on where test cases are also trained on."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Make of a download what the dataset opens. Stopped, it goes on. Exit code 1 when something lacks."""
    members = preparable()
    if name not in members:
        raise UnknownName("dataset to prepare", name, members)
    member, place = members[name], source.resolve()
    folder = output_folder or place.with_name(f"{place.name}-prepared")
    if not as_json:
        _show_card(member.card)
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task(f"prepare {name}", total=None)
        done = prepare_dataset(
            member,
            source,
            folder,
            listener=lambda number, total: progress.update(task, completed=number, total=total),
            accept_leak=accept_leak,
        )
    _show_preparation(done, member, name, as_json=as_json)
    if not done.is_complete:
        raise typer.Exit(FOUND)


def _show_card(card: Card) -> None:
    output.print(f"[bold]{card.title}[/bold]")
    for title in ("source", "licence", "citation", "patients", "defects"):
        output.print(f"{title}: {getattr(card, title)}", markup=False, highlight=False, soft_wrap=True)


def _show_preparation(done: Preparation, member: type[PreparedFolders], name: str, *, as_json: bool) -> None:
    """Found against published (or listed), every deviation, and what to do next."""
    ready = [done.ready.get((c.domain, c.split), 0) for c in done.counts]
    if as_json:
        counts = [{**vars(c), "prepared": n} for c, n in zip(done.counts, ready, strict=True)]
        licence = {"licence": member.card.licence, "citation": member.card.citation}
        emit(
            {
                "folder": str(done.output),
                "complete": done.is_complete,
                "converted": done.converted,
                **licence,
                "counts": counts,
                "problems": [p.to_dict() for p in done.problems],
            }
        )
        return
    rows = [
        (c.domain, c.split or "all", "unknown" if c.published is None else str(c.published), str(c.found), str(n))
        for c, n in zip(done.counts, ready, strict=True)
    ]
    table(name, ("domain", "split", member.counted, "found", "prepared"), rows)
    _show_problems(done.problems)
    there = sum(ready) - done.converted
    output.print(f"{done.converted} case(s) converted, {there} were there.")
    if done.is_complete:
        output.print(
            f"Prepared: {done.output}. Next: unshift data check {done.output}", soft_wrap=True, highlight=False
        )
    else:
        output.print(
            "Not complete, so it cannot be opened yet. Supply what is missing, and run the same command again."
        )


def _show_problems(problems: Sequence[Problem]) -> None:
    for problem in sorted(problems, key=lambda p: ("error", "warning", "count").index(p.severity)):
        output.print(f"[bold]{problem.severity}[/bold] ", end="")
        output.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    counts = Counter(p.severity for p in problems)
    output.print(f"{counts['error']} error(s), {counts['warning']} warning(s), {counts['count']} count(s).")


def _open(path: Path, name: str) -> Dataset:
    return open_dataset(name, path) if name else open_dataset(path)
