"""Compare pipelines case by case: paired differences with intervals and corrected tests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import typer

from unshift.cli.console import emit, estimate, guarded, output, table
from unshift.errors import DataError, UnknownName
from unshift.evaluate.comparison import compare as compare_scores
from unshift.evaluate.score import read_scores

EXAMPLE = "Example: [bold]unshift compare runs/demo/scores.parquet --baseline baseline --metric dice[/bold]"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare", help=__doc__, epilog=EXAMPLE)(compare)


@guarded
def compare(
    scores: list[Path] = typer.Argument(help="One or more files of scores (.parquet).", show_default=False),
    baseline: str = typer.Option("baseline", help="The pipeline that the others are compared with."),
    metric: str = typer.Option("dice", help="Shown in the table; all are compared."),
    output_file: Path | None = typer.Option(None, "--output", "-o", help="Write all comparisons as CSV."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable output."),
) -> None:
    """Compare pipelines case by case."""
    frame = pd.concat([read_scores(path) for path in scores], ignore_index=True)
    if frame["pipeline"].nunique() < 2:
        raise DataError(f"{', '.join(map(str, scores))}: one pipeline only; a comparison needs two or more.")
    if metric not in set(frame["metric"]):
        raise UnknownName("metric", metric, frame["metric"].unique(), where="--metric")
    comparisons = compare_scores(frame, baseline=baseline)
    if output_file is not None:
        comparisons.to_csv(output_file, index=False)
    shown = comparisons[comparisons["metric"] == metric]
    if as_json:
        emit(shown.to_dict(orient="records"))
        return
    rows = [
        (
            r.pipeline,
            r.domain,
            r.region,
            estimate(r.difference, r.low, r.high, "+.4f"),
            f"{r.p_holm:.3g}",
            str(r.n),
        )
        for r in shown.itertuples()
    ]
    table(
        f"{metric}: difference to {baseline}",
        ("pipeline", "domain", "region", "difference [95 %]", "p (Holm)", "n"),
        rows,
    )
    output.print("Paired by case; intervals: bootstrap of patients; p: Wilcoxon signed-rank on patients.", style="dim")
