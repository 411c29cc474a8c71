"""Where a repair helps and where it harms: its change of Dice beside what the image shows.

python benchmarks/content_dependence.py runs/NAME [--data FOLDER] [--region REGION] [--output docs/results]

A style unit replaces statistics of the whole field by the source's. Statistics depend on the machine, which is to be
repaired, and on content, which is not: an organ that fills the field, black borders, another anatomy. So for each test
case and repair the change of Dice (repair minus baseline, points) is set beside

- `organ`: the reference's share of the field of view;
- `field`: the field of view's share of the grid (its mask; where there is none, pixels above 2 % of the image's range);
- `distance`: of the image's bottleneck statistics (mean and deviation of each channel) from the source's training
  images, root mean square in the source's standard deviations;
- `baseline`: the baseline's Dice, because where little is left to gain little can be gained.

Spearman's correlation with a bootstrap interval of patients; `all unseen` ranks within each domain first, so that
differences between domains do not count. The labels are read to explain results, never to choose a method.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from unshift.contracts import Dataset
from unshift.datasets.opening import open_dataset
from unshift.evaluate.cases import held_out
from unshift.evaluate.fold import Fold
from unshift.evaluate.protocol import folds
from unshift.experiment.plugging import as_network_sees
from unshift.experiment.record import read_run
from unshift.experiment.testing import bundle_path
from unshift.experiment.training import apply
from unshift.export.bundle import Bundle, load_bundle
from unshift.randomness import numpy_generator
from unshift.recipe import Recipe
from unshift.sample import Case, Sample

COVARIATES = ("organ", "field", "distance", "baseline")
HARM = -5.0
DARK = 0.02
SOURCE_IMAGES = 100
PATCHES = 4
CASE = ["domain", "patient", "case"]
TERTILES = ("small", "middle", "large")


def changes(scores: pd.DataFrame, baseline: str, region: str) -> pd.DataFrame:
    """One row per unseen case: Dice of the baseline and change of every other pipeline, points; seeds averaged."""
    rows = scores[(scores["metric"] == "dice") & (scores["region"] == region) & ~scores["seen"]]
    rows = rows[rows["reference_voxels"] > 0]
    dice = 100 * rows.pivot_table(index=CASE, columns="pipeline", values="value", aggfunc="mean", sort=False)
    found = dice.drop(columns=baseline).sub(dice[baseline], axis=0)
    found = found[[name for name in rows["pipeline"].unique() if name in found]]
    return found.assign(baseline=dice[baseline], voxels=rows.groupby(CASE)["reference_voxels"].first())


def field_share(sample: Sample) -> float:
    """Share of the grid inside the field of view."""
    if sample.field_of_view is not None:
        return float(sample.field_of_view.float().mean())
    brightest = sample.image.amax(dim=0)
    low, high = float(brightest.min()), float(brightest.max())
    return float((brightest > low + DARK * (high - low)).float().mean())


def bottleneck(bundle: Bundle, samples: Iterable[Sample]) -> Iterator[np.ndarray]:
    """Mean and deviation of every bottleneck channel of each image; of patches, their average."""
    network = bundle.network.eval()
    for sample in samples:
        preprocessed = apply(bundle.preprocessing, sample)
        views = as_network_sees([preprocessed.unlabeled()], bundle.input, count=PATCHES)
        with torch.no_grad():
            deepest = network.encode(torch.stack([view.image for view in views]))[-1].flatten(2)
        yield torch.cat([deepest.mean(dim=2), deepest.std(dim=2, correction=0)], dim=1).mean(dim=0).numpy()


def case_table(recipe: Recipe, dataset: Dataset, run: Path, fold: Fold) -> pd.DataFrame:
    """Field share, number of valid voxels and distance of every unseen test case of a fold."""
    bundle = load_bundle(bundle_path(run, recipe.baseline, fold.name, recipe.seeds[0]))
    step = -(-len(fold.train) // SOURCE_IMAGES)
    source = np.stack(list(bottleneck(bundle, (dataset.read_image(case) for case in fold.train[::step]))))
    center, spread = source.mean(axis=0), source.std(axis=0)
    rows = []
    for case in (case for case in fold.test if not fold.seen(case)):
        rows.append(_row(dataset, case, bundle, center, np.maximum(spread, 1e-3 * spread.max())))
    return pd.DataFrame(rows).set_index(CASE)


def _row(dataset: Dataset, case: Case, bundle: Bundle, center: np.ndarray, spread: np.ndarray) -> dict[str, Any]:
    sample = dataset.read_image(case)
    (statistics,) = bottleneck(bundle, [sample])
    share = field_share(sample)
    distance = float(np.sqrt(np.mean(((statistics - center) / spread) ** 2)))
    ids = {"domain": case.domain, "patient": case.patient, "case": case.name}
    return {**ids, "field": share, "valid": share * sample.space.numel(), "distance": distance}


def ranks(values: pd.Series) -> np.ndarray:
    """Ranks within each domain, on one scale from 0 to 1; NaN stays NaN."""
    grouped = values.groupby(level="domain")
    return ((grouped.rank() - 0.5) / grouped.transform("count")).to_numpy()


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's, of ranks; NaN where one of the two does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")


def resamples(patients: np.ndarray, number: int = 1000) -> Iterator[np.ndarray]:
    """Rows of as many patients as there are, drawn with replacement."""
    generator = numpy_generator(0, "content dependence")
    rows = [np.flatnonzero(patients == name) for name in np.unique(patients)]
    for _ in range(number):
        yield np.concatenate([rows[i] for i in generator.integers(len(rows), size=len(rows))])


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """The 95 % percentile interval."""
    known = np.array([value for value in values if np.isfinite(value)])
    return tuple(np.percentile(known, [2.5, 97.5])) if len(known) else (float("nan"), float("nan"))


def parts(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """All unseen domains together, then, where there are several, each."""
    yield "all unseen", table
    names = table.index.get_level_values("domain")
    if names.nunique() > 1:
        yield from ((str(name), table[names == name]) for name in names.unique())


def correlations(table: pd.DataFrame, pipelines: list[str]) -> pd.DataFrame:
    """Spearman's correlation of each repair's change with each covariate."""
    found = []
    for where, part in parts(table):
        patients = part.index.get_level_values("patient").to_numpy()
        drawn = list(resamples(patients))
        for pipeline in pipelines:
            known = part[pipeline].notna().to_numpy()
            for covariate in COVARIATES:
                x, y = ranks(part[covariate].where(known)), ranks(part[pipeline])
                several = [correlation(x[rows][known[rows]], y[rows][known[rows]]) for rows in drawn]
                low, high = bounds(several)
                value = correlation(x[known], y[known])
                found.append((pipeline, where, covariate, value, low, high, int(known.sum())))
    return pd.DataFrame(found, columns=["pipeline", "domain", "covariate", "spearman", "low", "high", "cases"])


def by_tertile(table: pd.DataFrame, pipelines: list[str]) -> pd.DataFrame:
    """Mean change and share of harmed cases where the organ is a small, middle or large part of the field."""
    found = []
    third = np.clip((3 * ranks(table["organ"])).astype(int), 0, 2)
    for number, name in enumerate(TERTILES):
        part = table[third == number]
        patients = part.index.get_level_values("patient").to_numpy()
        drawn = list(resamples(patients))
        for pipeline in pipelines:
            values = part[pipeline].to_numpy()
            low, high = bounds(float(np.nanmean(values[rows])) for rows in drawn)
            known = values[np.isfinite(values)]
            harm = bounds(float(np.mean(values[rows][np.isfinite(values[rows])] < HARM)) for rows in drawn)
            middle = (float(part["organ"].median()), float(known.mean()), low, high)
            harmed = (float(np.mean(known < HARM)), *harm, len(np.unique(patients[values < HARM])))
            found.append((pipeline, name, *middle, *harmed, len(part), len(np.unique(patients))))
    columns = ["pipeline", "tertile", "median share", "mean change", "low", "high", "share harmed", "harmed low"]
    columns += ["harmed high", "patients harmed", "cases", "patients"]
    return pd.DataFrame(found, columns=columns).sort_values(
        "pipeline", key=lambda c: c.map(pipelines.index), kind="stable"
    )


def analyze(run: Path, data: Path | None, region: str | None) -> tuple[Recipe, pd.DataFrame, list[str]]:
    """One row per unseen case with its covariates and the change of every repair."""
    recipe, record = read_run(run)
    root = data or (Path(record["root"]) if record["root"] else None)
    dataset = open_dataset(recipe.dataset.name, root, recipe.dataset.settings)
    plan = [fold for fold in folds(dataset, recipe.protocol, seed=recipe.seeds[0]) if fold.kind == "held_out"]
    scores = held_out(pd.read_parquet(run / "scores.parquet"))
    table = changes(scores, recipe.baseline, region or scores["region"].iloc[0])
    pipelines = [name for name in table.columns if name not in ("baseline", "voxels")]
    if not pipelines:
        sys.exit(f"{run}: no pipeline but {recipe.baseline!r}; a repair is needed to compare. Give another run.")
    images = pd.concat([case_table(recipe, dataset, run, fold) for fold in plan])
    table = table.join(images, how="inner")
    return recipe, table.assign(organ=table["voxels"] / table["valid"]), pipelines


def picture(table: pd.DataFrame, pipelines: list[str], file: Path) -> None:
    """Change of Dice over the organ's share, a panel for each repair."""
    across = min(4, len(pipelines))
    down = -(-len(pipelines) // across)
    size = (3.0 * across, 2.6 * down)
    figure, axes = plt.subplots(down, across, figsize=size, sharex=True, sharey=True, squeeze=False)
    for panel, pipeline in zip(axes.flat, pipelines, strict=False):
        for domain, part in table.groupby(level="domain", sort=False):
            panel.scatter(100 * part["organ"], part[pipeline], s=9, alpha=0.6, linewidths=0, label=str(domain))
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_title(pipeline, fontsize=9)
    for panel in axes.flat[len(pipelines) :]:
        panel.set_visible(False)
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("reference's share of the field of view [%]", fontsize=9)
    figure.supylabel("change of Dice [points]", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    plt.close(figure)


def page(name: str, correlated: pd.DataFrame, tertiles: pd.DataFrame, title: str) -> str:
    """Both tables as Markdown."""
    lines = [f"# {title}: where a repair helps and where it harms", ""]
    lines += [
        f"`python benchmarks/content_dependence.py runs/{title}`. Unseen cases with a reference; change of Dice in "
    ]
    lines[-1] += "points against the baseline. Intervals: 95 %, bootstrap of patients. "
    lines[-1] += "Definitions stand at the top of the script.\n"
    lines += [f"![change of Dice over the organ's share of the field]({name}.png)\n", "## By share of the field\n"]
    lines += [
        "| repair | organ (median share) | mean change | worse by more than 5 points | whose | cases | patients |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in tertiles.itertuples(index=False):
        repair, tertile, median, mean, low, high, harmed, least, most, who, cases, patients = row
        cell = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        share = f"{100 * harmed:.0f} % [{100 * least:.0f}, {100 * most:.0f}]"
        lines += [f"| {repair} | {tertile} ({100 * median:.1f} %) | {cell} | {share} | {who} | {cases} | {patients} |"]
    lines += ["", "## Spearman's correlation of the change with what the image shows", ""]
    lines += [
        "| repair | domain | " + " | ".join(COVARIATES) + " | cases |",
        "|---|---|" + "--:|" * (len(COVARIATES) + 1),
    ]
    for (pipeline, where), part in correlated.groupby(["pipeline", "domain"], sort=False):
        cells = [f"{r.spearman:+.2f} [{r.low:+.2f}, {r.high:+.2f}]" for r in part.itertuples()]
        cells = ["–" if "nan" in cell else cell for cell in cells]
        lines += [f"| {pipeline} | {where} | " + " | ".join(cells) + f" | {part['cases'].iloc[0]} |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="the dataset's folder; default: the one that the run recorded")
    parser.add_argument("--region", help="default: the first")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    logging.getLogger("unshift").setLevel(logging.ERROR)
    recipe, table, pipelines = analyze(options.run, options.data, options.region)
    name = f"{recipe.name}_content"
    correlated, tertiles = correlations(table, pipelines), by_tertile(table, pipelines)
    options.output.mkdir(parents=True, exist_ok=True)
    table.drop(columns=["voxels", "valid"]).to_csv(options.output / f"{name}.csv", float_format="%.5g")
    correlated.to_csv(options.output / f"{name}_correlations.csv", index=False, float_format="%.4g")
    tertiles.to_csv(options.output / f"{name}_tertiles.csv", index=False, float_format="%.4g")
    picture(table, pipelines, options.output / f"{name}.png")
    text = page(name, correlated, tertiles, recipe.name)
    (options.output / f"{name}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
