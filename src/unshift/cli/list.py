"""List the members of a family (objectives, networks, datasets, …), one line each."""

from __future__ import annotations

import typer

from unshift import discover
from unshift.cli.console import emit, guarded, table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list", help=__doc__, epilog="Example: [bold]unshift list objectives[/bold]")(list_members)


@guarded
def list_members(
    family: str = typer.Argument("", help="A family; without it, all families."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """List the members of a family, one line each."""
    families = (family,) if family else discover.FAMILIES
    rows = [(f, name, discover.summary(f, name)) for f in families for name in discover.names(f)]
    if as_json:
        emit([{"family": f, "name": name, "summary": text} for f, name, text in rows])
        return
    for each in families:
        shown = [(name, text) for f, name, text in rows if f == each]
        if shown:
            table(each, ("name", ""), shown)
