"""The command line: one file a verb. Only the verb that is asked for is imported, so that help answers at once."""

from __future__ import annotations

import ast
import importlib
import logging
import os
import signal
import sys
from pathlib import Path

import typer

from unshift import __version__

INTERRUPTED = 130
VERBS = (
    "demo",
    "data",
    "bench",
    "train",
    "robustify",
    "predict",
    "prepare",
    "bank",
    "evaluate",
    "compare",
    "report",
    "list",
    "schema",
)


def main() -> None:
    """Entry point of the command ``unshift``."""
    logging.basicConfig(format="%(levelname)s %(message)s")  # to standard error, from warnings on
    logging.addLevelName(logging.WARNING, "Warning")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is said as Ctrl-C is
    try:
        build(sys.argv[1:])()
    except KeyboardInterrupt:  # while modules load; a verb that has begun ends by itself
        sys.exit(INTERRUPTED)


def build(arguments: list[str]) -> typer.Typer:
    """The application; with a verb in ``arguments`` the other verbs are stubs that only show their help line."""
    app = typer.Typer(
        name="unshift",
        help="Medical image segmentation on images from vendors, cameras, sites and modalities never seen.",
        epilog="Example: [bold]unshift demo[/bold] trains, scores and reports on built-in phantoms in a few minutes.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    asked = next((a for a in arguments if not a.startswith("-")), None)
    for verb in VERBS:
        if verb == asked or "_UNSHIFT_COMPLETE" in os.environ:
            importlib.import_module(f"unshift.cli.{verb}").register(app)
        else:
            app.command(verb, help=_first_sentence(verb))(_stub)
    return app


def _stub() -> None:
    """Stands for a verb that was not asked for."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"unshift {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show it."),
) -> None:
    """Bring the model you have. Find out where it breaks. Fix it. Prove it."""


def _first_sentence(verb: str) -> str:
    text = (Path(__file__).parent / f"{verb}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
