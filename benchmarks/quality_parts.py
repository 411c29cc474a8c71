"""Which parts of a quality shift take what a network loses by it, and what a color reference gives back of each.

python benchmarks/quality_parts.py runs/NAME [--preset old_endoscope] [--pipelines A B …] [--output docs/results]

NAME is a finished run on a phantom whose domains show the preset; its bundles predict, nothing is trained. The same
patients are seen without the preset, with all of it, and with some of its steps alone, in their order and with the
amounts and random draws that they have in it:

    cost = Dice without the preset − Dice with these steps          share = cost / cost of all steps

Mean over regions and images. Costs of parts need not add up to the whole: a blurred picture loses less by noise, a dim
one more. 95 % bootstrap intervals of patients, the same draws for every part and pipeline.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import numpy as np
import pandas as pd

from unshift.datasets.opening import open_dataset
from unshift.datasets.phantom import Phantom
from unshift.evaluate.bootstrap import Clusters, draw, interval
from unshift.evaluate.protocol import folds
from unshift.evaluate.score import read_scores, score
from unshift.experiment.record import code_version, read_run
from unshift.experiment.testing import bundle_path
from unshift.export.bundle import load_bundle
from unshift.phantom import quality
from unshift.phantom.quality import Quality, QualityShift
from unshift.randomness import derive
from unshift.recipe import Recipe
from unshift.sample import Sample

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "light and color": ("haze", "vignetting", "exposure", "cast", "saturation"),
        "· even: exposure, white balance, saturation": ("exposure", "cast", "saturation"),
        "· uneven: haze, vignetting": ("haze", "vignetting"),
        "detail": ("defocus", "motion", "low_resolution", "sharpen", "noise", "jpeg"),
        "· blur and resolution": ("defocus", "motion", "low_resolution"),
        "· noise, sharpening and compression": ("noise", "sharpen", "jpeg"),
    }
)
"""Name -> degradations; the first and the fourth part make up any preset."""
NOTHING, ALL = "nothing", "all of it"
RESAMPLES, CONFIDENCE = 2000, 0.95
SAME = 0.1
"""Points by which scores with all steps may differ from those that the run stored."""


def only(preset: Quality, kept: Sequence[str]) -> Quality:
    """The preset with the other steps doing nothing: each keeps its place, on which its random draws depend."""
    return replace(
        preset, steps=tuple(s if s.apply.__name__ in kept else replace(s, apply=_as_is) for s in preset.steps)
    )


def _as_is(picture: np.ndarray, amount: float, frame: object) -> np.ndarray:
    return picture


def parts_of(preset: Quality) -> dict[str, tuple[str, ...]]:
    """What is compared: nothing, all, and the parts that the preset has."""
    own = [step.apply.__name__ for step in preset.steps]
    if missing := set(own) - {name for names in PARTS.values() for name in names}:
        raise SystemExit(f"--preset: its steps {sorted(missing)} stand in no part. Add them to PARTS.")
    found = {name: tuple(step for step in own if step in names) for name, names in PARTS.items()}
    return {NOTHING: (), ALL: tuple(own), **{name: steps for name, steps in found.items() if steps}}


def seen_through(
    dataset: Phantom, domain: str, shift: QualityShift, parts: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, Sample]]:
    """Every case of the domain in every part, with its label map."""
    preset, base = quality.QUALITY[shift.name], domain.removesuffix(f"+{shift}")
    for case in dataset.cases(domain):
        clean, seeds = dataset.twin(case, base), dataset._seeds(case)
        drawn = derive(seeds.patient, "quality", seeds.frame)
        for name, kept in parts.items():
            with mock.patch.object(quality, "QUALITY", {shift.name: only(preset, kept)}):
                image = quality.degrade(clean.image, (shift,), seed=drawn, field_of_view=clean.field_of_view)
            yield name, clean.replace(image=image, label_map=dataset.read_label_map(case), domain=domain)


def scores(run: Path, recipe: Recipe, dataset: Phantom, pipelines: Sequence[str], preset: str) -> pd.DataFrame:
    """Mean Dice over regions, in points: (domain, patient, case, part) by pipelines."""
    fold = next(f for f in folds(dataset, recipe.protocol, seed=recipe.seeds[0]) if f.kind == "held_out")
    where = {name: bundle_path(run, name, fold.name, recipe.seeds[0]) for name in pipelines}
    predictors = {name: load_bundle(path).predictor() for name, path in where.items()}
    config = recipe.evaluate.model_copy(update={"metrics": ("dice",)})
    rows = []
    for domain in fold.targets:
        shifts = dataset.quality(domain)
        if [shift.name for shift in shifts] != [preset]:
            continue
        for part, sample in seen_through(dataset, domain, shifts[0], parts_of(quality.QUALITY[preset])):
            row: dict[str, object] = {"domain": domain, "patient": sample.patient, "case": sample.case, "part": part}
            for name, predictor in predictors.items():
                found = score(
                    predictor.predict(sample.replace(label_map=None)),
                    sample,
                    dataset.task,
                    config=config,
                    run=recipe.name,
                    pipeline=name,
                    dataset="phantom",
                )
                row[name] = 100 * np.nanmean([one.value for one in found])
            rows.append(row)
        print(domain, len(rows), flush=True)
    if not rows:
        raise SystemExit(f"--preset {preset}: no unseen domain of {recipe.name} shows it alone.")
    return pd.DataFrame(rows)


def require_same(found: pd.DataFrame, run: Path, pipelines: Sequence[str]) -> None:
    """All steps together must score as the run stored."""
    stored = read_scores(run / "scores.parquet")
    stored = stored[stored["metric"] == "dice"]
    for domain, part in found[found["part"] == ALL].groupby("domain"):
        for name in pipelines:
            own = stored[(stored["domain"] == domain) & (stored["pipeline"] == name)]
            before = 100 * own.groupby("case")["value"].mean().mean()
            if abs(before - part[name].mean()) > SAME:
                raise SystemExit(f"{domain}, {name}: {part[name].mean():.2f} here, {before:.2f} in the run.")


def costs(found: pd.DataFrame, pipelines: Sequence[str]) -> dict[str, list[str]]:
    """Part -> a cell a pipeline: its cost, of the patients of one domain, and the first's share of the whole."""
    wide = found.set_index(["patient", "case", "part"])[list(pipelines)].unstack("part")
    codes, names = pd.factorize(wide.index.get_level_values("patient"), sort=True)
    clusters = Clusters.of(wide.to_numpy(), codes, len(names))
    drawn = np.vstack([clusters.mean, clusters.replicates(draw(len(names), RESAMPLES, 0, "quality parts"))])
    place = {column: index for index, column in enumerate(wide.columns)}
    table = {}
    for part in dict.fromkeys(found["part"]):
        first = drawn[:, place[pipelines[0], NOTHING]]
        cost = {name: first - drawn[:, place[name, part]] for name in pipelines}
        whole = first - drawn[:, place[pipelines[0], ALL]]
        shares = [cell(100 * cost[pipelines[0]] / whole, "{:.0f}")] if part not in (NOTHING, ALL) else [""]
        table[part] = [cell(cost[pipelines[0]], "{:.1f}"), *shares, *(cell(cost[n], "{:.1f}") for n in pipelines[1:])]
    return table


def cell(values: np.ndarray, form: str) -> str:
    """The first value with the interval of the others."""
    low, high = (float(bound[0]) for bound in interval(values[1:, None], CONFIDENCE))
    middle, low_text, high_text = (
        form.format(v).replace("-0.0", "0.0").replace("-", "−") for v in (values[0], low, high)
    )
    return f"{middle} ({low_text} to {high_text})"


def page(found: pd.DataFrame, name: str, preset: str, pipelines: Sequence[str]) -> str:
    """Markdown."""
    first, *others = pipelines
    lines = [
        f"# {name}: which parts of {preset} cost what",
        "",
        f"`python benchmarks/quality_parts.py runs/{name} --preset {preset} --pipelines {' '.join(pipelines)}`, code "
        f"{code_version()}. Bundles of [{name}]({name}.md); nothing was trained.",
        "",
        f"What steps of `{preset}` alone cost, in Dice points (mean over regions and images) against `{first}` on the "
        "same patients without the preset, and as a share of what all steps together cost. Columns of other pipelines: "
        f"what is lost with them, against the same level, so that the difference to `{first}`'s cost is what they give "
        "back. Costs need not add up. 95 % bootstrap intervals of patients.",
    ]
    for domain, part in found.groupby("domain", sort=False):
        heads = ["steps", f"cost, `{first}`", "share, %", *(f"`{other}`" for other in others)]
        lines += ["", f"## {domain}: {part['case'].nunique()} images", "", "| " + " | ".join(heads) + " |"]
        lines.append("|---|" + "---:|" * (len(heads) - 1))
        lines += ["| " + " | ".join([row, *cells]) + " |" for row, cells in costs(part, pipelines).items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--preset", default="old_endoscope", choices=sorted(quality.QUALITY))
    parser.add_argument(
        "--pipelines", nargs="+", default=["baseline"], help="the first is what the others stand beside"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    options = parser.parse_args()
    recipe, _ = read_run(options.run)
    dataset = open_dataset(recipe.dataset.name, None, recipe.dataset.settings)
    if not isinstance(dataset, Phantom):
        raise SystemExit(f"{options.run}: a run on {recipe.dataset.name}; one on a phantom is required.")
    found = scores(options.run, recipe, dataset, options.pipelines, options.preset)
    require_same(found, options.run, options.pipelines)
    path = options.output / f"{recipe.name}_{options.preset}_parts.md"
    path.write_text(page(found, recipe.name, options.preset, options.pipelines), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
