"""Print the JSON schema of a recipe, for editors that complete and check YAML."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from unshift.cli.console import guarded, messages
from unshift.recipe import Recipe, schema


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("schema", help=__doc__, epilog="Example: [bold]unshift schema --output recipe.schema.json[/bold]")(
        show_schema
    )


@guarded
def show_schema(output: Path | None = typer.Option(None, help="Write to this file instead of the terminal.")) -> None:
    """Print the JSON schema of a recipe."""
    text = json.dumps(schema(Recipe), indent=1) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    messages.print(f"Wrote {output}")
