"""Segment images with a bundle: label maps on each image's own grid."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from unshift.cli.console import emit, guarded, messages, output
from unshift.cli.options import PREDICT, as_options, speaking_of_options
from unshift.errors import DataError, UnshiftError
from unshift.experiment.deployment import Accelerator, predict_files

EXAMPLE = "Example: [bold]unshift predict runs/demo/bundles/B+C/0/baseline images/*.png --output predictions[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", help=__doc__, epilog=EXAMPLE)(predict)


@guarded
@speaking_of_options(PREDICT)
def predict(
    bundle: Path = typer.Argument(help="A bundle: a folder or a zip.", show_default=False),
    images: list[Path] = typer.Argument(help="Image files, DICOM series folders, or folders of images."),
    output_folder: Path = typer.Option(Path("predictions"), "--output", "-o", help="Where label maps are written."),
    probabilities: bool = typer.Option(False, help="Also write each image's class probabilities (.npy)."),
    trust: list[str] = typer.Option([], help="package.module:function that the bundle names and that may be run."),
    accelerator: Accelerator = typer.Option("auto", help="Where to compute."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Segment images with a bundle."""
    if trust:
        sys.path.insert(0, str(Path.cwd()))  # a module of one's own lies where one works, as for robustify
    done: list[dict[str, str]] = []
    failed: list[dict[str, str]] = []
    for image, result in predict_files(
        bundle, images, output_folder, accelerator=accelerator, probabilities=probabilities, trust=trust
    ):
        if isinstance(result, UnshiftError):
            error = as_options(str(result), PREDICT)
            failed.append({"image": str(image), "error": error})
            messages.print("[red]not done[/red]", end=" ")
            messages.print(error, markup=False, highlight=False, soft_wrap=True)
        else:
            done.append({"image": str(image), "label_map": str(result)})
    if as_json:
        emit({"done": done, "failed": failed})
    else:
        output.print(f"{len(done)} label map(s) in {output_folder}; {len(failed)} image(s) not done.", highlight=False)
    if failed:
        raise typer.Exit(1)
    if not done:
        raise DataError(f"{', '.join(map(str, images))}: no image found. Give image files or a folder that holds some.")
