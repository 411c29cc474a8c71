"""Learn the weights that style transfer needs from photographs: WCT-AIN's decoder, or VGG features when offline."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.console import Bars, emit, guarded, output
from unshift.config import parse
from unshift.errors import ConfigError
from unshift.experiment.deployment import Accelerator
from unshift.experiment.events import Job
from unshift.experiment.pretraining import PretrainConfig
from unshift.experiment.transfer import FULL_WIDTH, Source, Weights, prepare
from unshift.normalizations.vgg import VggWeights, cache_folder
from unshift.train.devices import Devices

EXAMPLE = "Example: [bold]unshift prepare vgg16 --content photographs/ --width 16[/bold], then \
[bold]unshift prepare wct_ain --content photographs/ --encoder auto[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("prepare", help=__doc__, epilog=EXAMPLE)(prepare_weights)


@guarded
def prepare_weights(
    name: Weights = typer.Argument(help="What to learn.", show_default=False),
    content: Path | None = typer.Option(None, help="A folder of photographs; without it, textures are made up."),
    count: int = typer.Option(500, min=4, help="How many content images; a tenth is held out to measure."),
    encoder: str = typer.Option("auto", help="Of wct_ain: auto (what is at hand), torchvision, or a VGG's file."),
    width: int = typer.Option(FULL_WIDTH, min=2, help="Of a VGG: channels of the first block; 64 is the published."),
    steps: int = typer.Option(2000, help="Updates."),
    batch: int = typer.Option(4, help="Crops in an update."),
    size: int = typer.Option(128, help="Pixels of a crop's side, a multiple of 16."),
    seed: int = typer.Option(0, help="Decides all randomness."),
    output_file: Path | None = typer.Option(None, "--output", "-o", help="Default: NAME.safetensors in the cache."),
    accelerator: Accelerator = typer.Option("auto", help="Where to compute."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Learn weights; stopped at any time, the same command goes on."""
    if encoder != "auto" and name != "wct_ain":
        raise ConfigError(f"--encoder {encoder}: {name} has no encoder; it is one. Leave the option out.")
    if width != FULL_WIDTH and name == "wct_ain":
        raise ConfigError(f"--width {width}: wct_ain has the widths of its encoder. Leave the option out.")
    settings = {"steps": steps, "batch": batch, "size": size, "seed": seed}
    config = parse(PretrainConfig, settings, where="unshift prepare")
    path = output_file or cache_folder() / f"{name}.safetensors"
    job = Job(f"train {path.stem}", "train", config.steps, key=name)
    with Bars([job]) as bars:
        prepared = prepare(
            name,
            Source(content, count),
            config,
            encoder=_encoder(encoder),
            width=width,
            output=path,
            devices=Devices(accelerator=accelerator),
            listener=bars,
        )
    if as_json:
        emit({"weights": str(prepared.path), "origin": prepared.origin, "figures": dict(prepared.figures)})
        return
    output.print(f"Weights: {prepared.path}", soft_wrap=True, highlight=False)
    output.print(f"  {prepared.origin}", soft_wrap=True, highlight=False, markup=False)
    for figure, value in prepared.figures.items():
        output.print(f"  held-out images: {figure} {value:.4g}", highlight=False)


def _encoder(text: str) -> VggWeights:
    if text == "torchvision":
        return "torchvision"
    return None if text == "auto" else Path(text)
