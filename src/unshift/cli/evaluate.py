"""Score a folder of predicted label maps against a dataset's references."""

from __future__ import annotations

from pathlib import Path

import typer

from unshift.cli.console import emit, estimate, guarded, output, table
from unshift.experiment.deployment import evaluate_folder

EXAMPLE = "Example: [bold]unshift evaluate predictions --data path/to/dataset --name my_model[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", help=__doc__, epilog=EXAMPLE)(evaluate)


@guarded
def evaluate(
    predictions: Path = typer.Argument(help="<predictions>/<domain>/<case>.png or .nii.gz", show_default=False),
    data: Path = typer.Option(help="The dataset's folder.", show_default=False),
    dataset: str = typer.Option("", help="The dataset's name (`unshift list datasets`); default: by its layout."),
    name: str = typer.Option("", help="Name of the pipeline in the scores; default: the folder's name."),
    metrics: list[str] = typer.Option([], "--metric", help="May be repeated; default: all of the standard set."),
    partial: bool = typer.Option(False, "--partial", help="Score only the cases that have a prediction."),
    output_file: Path = typer.Option(Path("scores.parquet"), "--output", "-o", help="Long-form scores."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Score a folder of predicted label maps."""
    summary = evaluate_folder(
        predictions,
        data,
        output_file,
        dataset=dataset,
        name=name or predictions.name,
        metrics=tuple(metrics),
        partial=partial,
    )
    if as_json:
        emit({"scores": str(output_file), "summary": summary.to_dict(orient="records")})
        return
    rows = [
        (
            r.domain,
            r.region,
            r.metric,
            estimate(r.mean, r.low, r.high, ".4g"),
            r.unit,
            str(r.n_scored),
            str(r.n_undefined),
        )
        for r in summary.itertuples()
    ]
    table("scores", ("domain", "region", "metric", "mean [95 % interval]", "unit", "n", "undefined"), rows)
    output.print(f"\nScores: {output_file}", soft_wrap=True, highlight=False)
