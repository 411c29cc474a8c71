"""List the members of a family (objectives, networks, datasets, …), or the shifts, one line each."""

from __future__ import annotations

import typer

from unshift import discover
from unshift.cli.console import emit, guarded, table
from unshift.errors import UnknownName
from unshift.phantom.quality import QUALITY

SHIFTS = "shifts"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list", help=__doc__, epilog="Example: [bold]unshift list objectives[/bold]")(list_members)


@guarded
def list_members(
    family: str = typer.Argument("", help="A family, or shifts; without it, all of them."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """List the members of a family, or the quality shifts (levels 1 to 5), one line each."""
    known = (*discover.FAMILIES, SHIFTS)
    if family and family not in known:
        raise UnknownName("family", family, known)
    families = (family,) if family else known
    rows = [row for each in families for row in _rows(each)]
    if as_json:
        emit([{"family": f, "name": name, "summary": text} for f, name, text in rows])
        return
    for each in families:
        shown = [(name, text) for f, name, text in rows if f == each]
        if shown:
            table(each, ("name", ""), shown)


def _rows(family: str) -> list[tuple[str, str, str]]:
    if family == SHIFTS:
        return [(family, name, quality.summary) for name, quality in QUALITY.items()]
    return [(family, name, discover.summary(family, name)) for name in discover.names(family)]
