"""The tables of finished runs as pages: ``python benchmarks/collect_results.py runs/polyp-quick … [--output FOLDER]``.

Each page has the command, the code version, the machine, the seeds and the tables that the run's report shows.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import yaml

from unshift.config import to_yaml
from unshift.experiment.record import read_run
from unshift.experiment.testing import origins
from unshift.recipe import Recipe

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = "path/to/photographs"
TABLES = (
    "headline",
    "differences",
    "ranks",
    "recovery",
    "worst",
    "metric_assd",
    "metric_hd95",
    "metric_recall",
    "metric_precision",
    "false_alarms",
)
BESIDE = {"recovered": "How much of the gap is recovered", "content": "Where each repair helps and where it harms"}
"""Pages of other scripts, linked where they are."""
REFERENCES = "references"
"""Shown where images were given a reference's colors; its file, one row an image, stays in the run."""
PAPER_TABLES = ("metric_jaccard", "metric_hd", "metric_asd")
"""Beside them where the recipe measures the Hausdorff distance, as DINSeg does."""


def page(run: Path, output: Path) -> Path:
    recipe, record = read_run(run)
    environment = record["environment"]
    lines = [
        f"# {recipe.name}",
        "",
        recipe.description,
        "",
        "```",
        f"unshift bench {command(recipe, record['command'])}",
        "```",
        "",
        f"Code {', '.join(versions(run) or [record['code']])}; started {record['started'][:10]}; "
        f"{environment['machine']}, accelerators: {environment['accelerators']}; torch {environment['torch']}, MONAI "
        f"{environment['monai']}; seeds {', '.join(map(str, recipe.seeds))}. The recipe as it ran, with every default, "
        f"is [{recipe.name}.yaml]({recipe.name}.yaml); the tables at full precision are CSV files beside this page.",
        "",
    ]
    for name in (*TABLES, *(PAPER_TABLES if "hd" in recipe.evaluate.metrics else ())):
        table = run / "tables" / f"{name}.md"
        if table.is_file():
            shutil.copy(table.with_suffix(".csv"), output / f"{recipe.name}_{name}.csv")
            lines += [table.read_text(encoding="utf-8").strip(), ""]
    used = run / "tables" / f"{REFERENCES}.md"
    lines += [used.read_text(encoding="utf-8").strip(), ""] if used.is_file() else []
    lines += fitted(run, recipe) + brought(run, recipe)
    for beside, title in BESIDE.items():
        file = output / f"{recipe.name}_{beside}.md"
        lines += [f"[{title}]({file.name})", ""] if file.is_file() else []
    lines += ["Data: " + " · ".join(recipe.cite), ""] if recipe.cite else []
    (output / f"{recipe.name}.yaml").write_text(to_yaml(elsewhere(recipe)), encoding="utf-8")
    path = output / f"{recipe.name}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def fitted(run: Path, recipe: Recipe) -> list[str]:
    """What pipelines learned beside the network's weights: units, from what their training logged."""
    rows = [line for name in recipe.pipelines for line in units(run, name)]
    if not rows:
        return []
    return ["### What was fitted", "", "| pipeline | fold, seed | what |", "| --- | --- | --- |", *rows, ""]


def units(run: Path, pipeline: str) -> Iterator[str]:
    """How long the units of each fold and seed were trained, and the losses at the step whose units were kept."""
    for journal in sorted((run / "plugins").rglob(f"{pipeline}.jsonl")):
        entries = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        first, last, kept = entries[0], entries[-1], min(entries, key=lambda entry: entry["held_out"])
        terms = ", ".join(f"{name} {first[name]:.4g} → {kept[name]:.4g}" for name in kept if name != "step")
        yield (
            f"| {pipeline} | {journal.parts[-3]}, {journal.parts[-2]} | {last['step']} steps, kept those of step "
            f"{kept['step']}; from the first check to that: {terms} |"
        )


def brought(run: Path, recipe: Recipe) -> list[str]:
    """Where weights came from that repairs of the image brought with them."""
    found = {name: origins(run, name) for name in recipe.pipelines}
    lines = [f"{name}: {', '.join(where)}" for name, where in found.items() if where]
    return [f"Weights that were brought. {'; '.join(lines)}.", ""] if lines else []


def versions(run: Path) -> list[str]:
    """The code that made each tested bundle, without repetition."""
    cards = (yaml.safe_load(file.read_text(encoding="utf-8"))["card"] for file in run.glob("bundles/**/bundle.yaml"))
    return sorted({card["code_version"] for card in cards})


def command(recipe: Recipe, recorded: str) -> str:
    """The recipe's file, found by its name or, with other settings, in the recorded command; the data that it needs."""
    files = sorted((ROOT / "recipes").rglob("*.yaml"))
    file = next((f for f in files if yaml.safe_load(f.read_text(encoding="utf-8"))["name"] == recipe.name), None)
    words = shlex.split(recorded)
    options = [shlex.join(pair) for pair in pairwise(words) if file is None and pair[0] == "--set"]
    if file is None:
        file = next((ROOT / word for word in words if word.startswith("recipes/")), None)
    if file is None or not file.is_file():
        raise SystemExit(f"No recipe in {ROOT / 'recipes'} has the name {recipe.name!r}; a page needs its command.")
    place = file.relative_to(ROOT).as_posix()
    dataset = recipe.dataset.settings.get("of") or recipe.dataset.name
    dataset = dataset["name"] if isinstance(dataset, dict) else dataset
    place = place if dataset == "phantom" else f"{place} --data path/to/{dataset}"
    place = " ".join([place, *options])
    return f"{place} --set content.folder={PHOTOGRAPHS}" if recipe.content.folder else place


def elsewhere(recipe: Recipe) -> Recipe:
    """The recipe without the place of the photographs on the machine that ran it."""
    if recipe.content.folder is None:
        return recipe
    return recipe.model_copy(update={"content": recipe.content.model_copy(update={"folder": Path(PHOTOGRAPHS)})})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    for folder in arguments.runs:
        print(page(folder, arguments.output))
