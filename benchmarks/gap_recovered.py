"""How much of what a shift took each pipeline gives back, and what it costs in-domain, from a finished run.

python benchmarks/gap_recovered.py runs/NAME [--output docs/results] [--baseline PIPELINE]

    gap       = baseline on the sources' held-out patients − baseline on the unseen domain
    recovered = (pipeline − baseline on the unseen domain) / gap
    cost      = baseline − pipeline on the sources' held-out patients

Of mean Dice over regions and images. The ceiling is the source's own level, not a model trained on the target, which
few people have; a domain that is easier than the source has no gap, and gets none. Intervals, 95 %: 2,000 bootstrap
draws of patients, the same for pipeline and baseline; a source's and a target's patients are drawn apart unless they
are the same people. With ``--baseline`` another pipeline stands in the baseline's place, and the page is printed alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from unshift.evaluate.bootstrap import Clusters, draw, interval
from unshift.evaluate.score import read_scores
from unshift.experiment.record import read_run

RESAMPLES, CONFIDENCE = 2000, 0.95
SHARE = ("recovered", "recovered_low", "recovered_high")
LEAST_GAP = 1.0
"""Points; below, or where its interval holds 0, there is nothing to recover a share of."""


def table(run: Path, baseline: str = "") -> pd.DataFrame:
    """One row a fold, pipeline and unseen domain, and one a pipeline over all folds; figures in points and shares."""
    recipe, _ = read_run(run)
    if baseline and baseline not in recipe.pipelines:
        raise SystemExit(f"--baseline {baseline}: no pipeline of {run}; it has {', '.join(recipe.pipelines)}.")
    scores = read_scores(run / "scores.parquet")
    scores = scores[(scores["metric"] == "dice") & (scores["fold"].isin(scores.loc[~scores["seen"], "fold"]))]
    values = scores.assign(value=100 * scores["value"])
    cases = values.groupby(["fold", "seen", "domain", "patient", "case", "seed", "pipeline"])["value"].mean().unstack()
    cases = cases[list(recipe.pipelines)]
    return pd.DataFrame(of_folds(cases, baseline or recipe.baseline))


def of_folds(cases: pd.DataFrame, baseline: str) -> Iterator[dict[str, object]]:
    """Every fold by itself, then the unseen cases of all, each as the fold that left its domain out scored it."""
    for fold, part in cases.groupby("fold"):
        yield from of_fold(str(fold), part, baseline)
    if cases.index.get_level_values("fold").nunique() > 1:
        seen = cases.index.get_level_values("seen")
        yield from compared("all folds", "all unseen", cases[seen], cases[~seen], baseline)


def of_fold(fold: str, cases: pd.DataFrame, baseline: str) -> Iterator[dict[str, object]]:
    """Every unseen domain by itself, then all of them."""
    seen = cases.index.get_level_values("seen")
    unseen = cases[~seen]
    domains = unseen.index.get_level_values("domain")
    groups = [(name, unseen[domains == name]) for name in dict.fromkeys(domains)]
    groups += [("all unseen", unseen)] if len(groups) > 1 else []
    for name, target in groups:
        yield from compared(fold, name, cases[seen], target, baseline)


def compared(
    fold: str, name: str, source: pd.DataFrame, target: pd.DataFrame, baseline: str
) -> Iterator[dict[str, object]]:
    """One row a pipeline."""
    own, own_means = resampled(source, "patients" if same_people(source, target) else "source")
    there, there_means = resampled(target, "patients" if same_people(source, target) else "target")
    pipelines = list(source.columns)
    place = pipelines.index(baseline)
    gaps = own[:, place] - there[:, place]
    gap = own_means[place] - there_means[place]
    gap_low, gap_high = (float(bound[0]) for bound in interval(gaps[:, None], CONFIDENCE))
    is_gap = gap_low > 0 and gap >= LEAST_GAP
    for index, pipeline in enumerate(pipelines):
        gain, cost = there[:, index] - there[:, place], own[:, place] - own[:, index]
        share = gain / gaps if is_gap else np.full(len(gaps), np.nan)
        row: dict[str, object] = {"fold": fold, "domain": name, "pipeline": pipeline, "n": len(target)}
        row |= {"gap": gap, "gap_low": gap_low, "gap_high": gap_high}
        means = {
            "gain": there_means[index] - there_means[place],
            "recovered": (there_means[index] - there_means[place]) / gap if is_gap else np.nan,
            "cost": own_means[place] - own_means[index],
        }
        for key, replicates in (("gain", gain), ("recovered", share), ("cost", cost)):
            low, high = (float(bound[0]) for bound in interval(replicates[:, None], CONFIDENCE))
            row |= {key: means[key], f"{key}_low": low, f"{key}_high": high}
        if pipeline != baseline:
            yield row


def same_people(source: pd.DataFrame, target: pd.DataFrame) -> bool:
    """Whether the target shows the source's patients again."""
    return set(target.index.get_level_values("patient")) <= set(source.index.get_level_values("patient"))


def resampled(cases: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Means of all pipelines, of every replicate and of the data; cases that any pipeline lacks are left out of all."""
    whole = cases.dropna()
    codes, names = pd.factorize(whole.index.get_level_values("patient"), sort=True)
    clusters = Clusters.of(whole.to_numpy(), codes, len(names))
    return clusters.replicates(draw(len(names), RESAMPLES, 0, label)), clusters.mean


def markdown(frame: pd.DataFrame, name: str, option: str = "") -> str:
    """The page."""
    lines = [
        f"# {name}: how much of the gap is recovered",
        "",
        f"`python benchmarks/gap_recovered.py runs/{name}{option}`",
        "",
        "Gap: what the baseline loses on the unseen domain against the sources' held-out patients, in Dice points "
        "(mean over regions and images). Recovered: the pipeline's gain there as a share of it. In-domain: the "
        "pipeline's change on the sources' held-out patients. 95 % bootstrap intervals of patients; a dash where there "
        "is no gap.",
    ]
    for (fold, domain), part in frame.groupby(["fold", "domain"], sort=False):
        first = part.iloc[0]
        title = f"{domain}" if frame["fold"].nunique() == 1 or domain in fold else f"{fold}: {domain}"
        lines += [
            "",
            f"### {title}: gap {plain(first['gap'], first['gap_low'], first['gap_high'])}, {first['n']} images",
            "",
            "| pipeline | gain | recovered | in-domain |",
            "| --- | ---: | ---: | ---: |",
        ]
        for row in part.to_dict("records"):
            share = "–" if np.isnan(row["recovered"]) else percent(row)
            gain = points(row["gain"], row["gain_low"], row["gain_high"])
            own = points(-row["cost"], -row["cost_high"], -row["cost_low"])
            name_there = str(row["pipeline"]).replace("_", "\\_")
            lines.append(f"| {name_there} | {gain} | {share} | {own} |")
    return "\n".join(lines) + "\n"


def points(*values: float) -> str:
    """A signed change with its interval."""
    words = plain(*values)
    return words if words[0] == "−" or words.startswith("0.0 ") else f"+{words}"


def plain(*values: float) -> str:
    """A figure with its interval."""
    middle, low, high = (f"{value:z.1f}".replace("-", "−") for value in values)
    return f"{middle} ({low} to {high})"


def percent(row: dict[str, float]) -> str:
    """Share with its interval."""
    share, low, high = (f"{100 * row[key]:z.0f}".replace("-", "−") for key in SHARE)
    return f"{share} % ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    parser.add_argument("--baseline", default="", help="a pipeline to compare with in place of the recipe's")
    options = parser.parse_args()
    frame, name = table(options.run, options.baseline), read_run(options.run)[0].name
    other = f" --baseline {options.baseline}" if options.baseline else ""
    stem = f"{name}_recovered" + (f"_{options.baseline}" if options.baseline else "")
    frame.to_csv(options.output / f"{stem}.csv", index=False)
    path = options.output / f"{stem}.md"
    path.write_text(markdown(frame, name, other), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
