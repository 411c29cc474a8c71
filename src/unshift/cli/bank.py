"""Build a bank of reference images for the normalization `dcin`: embeddings and color statistics, never a pixel."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.console import Bars, emit, guarded, messages, output
from unshift.config import MemberRef
from unshift.errors import ConfigError
from unshift.experiment.banking import NO_EMBEDDING, Recipe, build_bank, describe_bank
from unshift.experiment.events import Event, Job
from unshift.export.bundle import load_bundle

EXAMPLE = "Example: [bold]unshift bank source_images -o bank.safetensors --bundle path/to/bundle[/bold]"


NAMED = 5
"""Images without colors that are named."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bank", help=__doc__, epilog=EXAMPLE)(bank)


@guarded
def bank(
    folder: Path = typer.Argument(help="Source images: a folder of files, or <domain>/images.", show_default=False),
    output_file: Path = typer.Option(..., "--output", "-o", help="The bank; one that is there already is extended."),
    bundle: Path | None = typer.Option(None, help="The model whose features (segmenter) and preprocessing are used."),
    embedding: str = typer.Option(
        "", help="segmenter (default with --bundle), lite2, timm:MODEL, or none (default without a bundle)."
    ),
    weights: Path | None = typer.Option(None, help="Of timm:MODEL: its file; without it, timm's hub is asked."),
    method: list[str] = typer.Option(["lab"], help="Color methods whose statistics are kept; may stand several times."),
    trust: list[str] = typer.Option([], help="package.module:function that the bundle names and that may be run."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Build or extend a bank; stopped at any time, the same command goes on."""
    loaded = load_bundle(bundle, trust=trust) if bundle else None
    chosen = _embedding(embedding or ("segmenter" if bundle else NO_EMBEDDING), weights)
    job = Job("describe images", "test", 1, "bank")
    with Bars([job]) as bars:
        built = build_bank(
            folder,
            output_file,
            Recipe(method, chosen, loaded),
            listener=lambda done, total, name: bars(Event(job.name, done, total, name)),
        )
    facts = describe_bank(built.bank)
    failed = [{"image": image, "error": error} for image, error in built.failed]
    if as_json:
        emit({"bank": str(output_file), "added": built.added, "already there": built.kept, **facts, "failed": failed})
    else:
        for name, value in facts.items():
            output.print(f"{name}: {value}", highlight=False, soft_wrap=True)
        output.print(
            f"{output_file}: {built.added} image(s) added, {built.kept} there already, {len(failed)} not usable.",
            highlight=False,
            soft_wrap=True,
        )
    flawed = [f"{name} ({flaw})" for name, flaw in zip(built.bank.names, built.bank.flaws, strict=True) if flaw]
    if flawed:
        named = ", ".join(flawed[:NAMED]) + (", …" if len(flawed) > NAMED else "")
        messages.print("[yellow]no references[/yellow]", end=" ")
        messages.print(named, markup=False, highlight=False, soft_wrap=True)
    for one in failed:
        messages.print("[red]not done[/red]", end=" ")
        messages.print(one["error"], markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _embedding(text: str, weights: Path | None) -> MemberRef:
    name, _, model = text.partition(":")
    if weights and name != "timm":
        raise ConfigError(f"--weights {weights}: only timm:MODEL takes a file of weights. Leave the option out.")
    if model and name != "timm":
        raise ConfigError(f"--embedding {text}: only timm takes a model after a colon. Write {name}.")
    settings = ({"model": model} if model else {}) | ({"weights": str(weights)} if weights else {})
    return MemberRef.model_validate({"name": name, **settings})
