"""What style units can do at least when they may look: the same numbers, fitted on the target's own labels.

python benchmarks/unit_ceiling.py runs/NAME [--data FOLDER] [--levels all] [--output docs/results]

A unit gives each channel of a feature one scale and one offset. Where such numbers, found with the target's labels,
close a gap that units found without them leave open, it is knowledge of the target that is missing, and not capacity.
For each unseen domain the units begin at the source's mean statistics, with a strength that is learned, and are trained
on one half of the target's patients with their labels, at most 300 steps of 8 images, stopped on held-out patients of
that half; they are tested on the other half; then the halves change places. More images or steps could do better: it
is a lower bound of the best units. Dice in points at the network's input size, first label, mean over cases with a
reference; the bootstrap of patients holds the two fits fixed. An oracle: it explains, and chooses no method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from content_dependence import bounds, resamples
from torch import Tensor, nn

from unshift.datasets.opening import open_dataset
from unshift.evaluate.protocol import folds
from unshift.experiment.plugging import as_network_sees
from unshift.experiment.record import code_version, read_run
from unshift.experiment.testing import bundle_path
from unshift.experiment.training import apply
from unshift.export.bundle import load_bundle
from unshift.plugins.adain import AdaIN
from unshift.plugins.din import DIN, DINConfig
from unshift.plugins.frozen import batches, chosen, frozen, style_statistics
from unshift.plugins.task import ShiftedTask, TrainableUnits
from unshift.plugins.training import divide, draw, minimize
from unshift.plugins.units import Unit, UnitsConfig
from unshift.randomness import numpy_generator, torch_generator
from unshift.sample import Sample

UNCHANGED = {"name": "appearance", "strength": 0.0}
SOURCE_IMAGES, STEPS = 100, 300


def ceiling(network: Any, source: Sequence[Sample], target: Sequence[Sample], levels: Any) -> nn.Module:
    """Units begun at the source's statistics and trained on the target's labels, attached."""
    config = DINConfig(levels=levels, objective="task", shift=UNCHANGED, learned_strength=True, steps=STEPS)
    taps = chosen(network.taps, levels)
    found = style_statistics(network, source)
    trained = TrainableUnits([found[i] for i in taps], learned_strength=True)
    units = DIN(config)
    units.levels = nn.ModuleList(Unit(s.weights[0], s.biases[0], s.strength) for s in trained.styles())
    task = ShiftedTask(network, units, taps, shift=units._shift())
    train, held_out = divide(target, config.held_out, seed=0)
    checked = task.shifted([target[i] for i in held_out], torch_generator(0, "ceiling"))

    def losses(step: int) -> dict[str, Tensor]:
        generator = torch_generator(0, "ceiling", step)
        chosen_now = [target[train[i]] for i in draw(generator, len(train), config.batch_size)]
        return task.terms(trained, task.shifted(chosen_now, generator))

    with frozen(network):
        minimize(trained, losses, lambda: task.terms(trained, checked), config, learning_rate=config.task_learning_rate)
    units.levels = nn.ModuleList(Unit(s.weights[0], s.biases[0], s.strength) for s in trained.styles())
    return units.attach(network)


def dice(module: nn.Module, samples: Sequence[Sample], *, has_units: bool) -> np.ndarray:
    """Of label 1, in points; NaN where the reference is empty."""
    values: list[float] = []
    with torch.no_grad():
        for images, inside in batches(samples, torch.device("cpu")):
            logits = module(images, inside) if has_units else module(images)
            predicted = logits.argmax(1) == 1
            wanted = torch.stack([s.label_map for s in samples[len(values) : len(values) + len(images)]]) == 1  # type: ignore[misc]
            shared = (predicted & wanted).flatten(1).sum(1)
            total = (predicted.flatten(1).sum(1) + wanted.flatten(1).sum(1)).double()
            found = torch.where(wanted.flatten(1).any(1), 200 * shared / total, torch.nan)
            values += found.tolist()
    return np.array(values)


def halves(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Indices of two halves of the patients."""
    patients = sorted({s.patient for s in samples})
    first = set(numpy_generator(0, "halves").permutation(patients)[: len(patients) // 2])
    of_first = [i for i, s in enumerate(samples) if s.patient in first]
    return of_first, [i for i in range(len(samples)) if i not in set(of_first)]


def table(run: Path, data: Path | None, levels: Sequence[str]) -> list[str]:
    """Rows of Markdown, a domain each."""
    recipe, record = read_run(run)
    root = data or (Path(record["root"]) if record["root"] else None)
    dataset = open_dataset(recipe.dataset.name, root, recipe.dataset.settings)
    fold = next(f for f in folds(dataset, recipe.protocol, seed=recipe.seeds[0]) if f.kind == "held_out")
    bundle = load_bundle(bundle_path(run, recipe.baseline, fold.name, recipe.seeds[0]))
    network = bundle.network.eval()

    def seen(cases: Sequence[Any]) -> list[Sample]:
        return as_network_sees((apply(bundle.preprocessing, dataset.read(case)) for case in cases), bundle.input)

    source = seen(fold.train[:: -(-len(fold.train) // SOURCE_IMAGES)])
    adain = AdaIN(UnitsConfig(levels="multi")).fit(network, source, []).attach(network)
    rows = []
    for domain in dict.fromkeys(case.domain for case in fold.test if not fold.seen(case)):
        target = seen([case for case in fold.test if case.domain == domain])
        columns = [dice(network, target, has_units=False), dice(adain, target, has_units=True)]
        for name in levels:
            at: Any = tuple(tap.name for tap in network.taps) if name == "all" else name
            column = np.full(len(target), np.nan)
            first, second = halves(target)
            for fitted_on, tested in ((first, second), (second, first)):
                units = ceiling(network, source, [target[i] for i in fitted_on], at)
                column[tested] = dice(units, [target[i] for i in tested], has_units=True)
            columns.append(column)
        patients = np.array([s.patient for s in target])
        rows.append(f"| {domain} | " + " | ".join(cell(c, patients) for c in columns) + f" | {len(target)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def cell(values: np.ndarray, patients: np.ndarray) -> str:
    """Mean and interval."""
    low, high = bounds(float(np.nanmean(values[rows])) for rows in resamples(patients))
    return f"{np.nanmean(values):.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="the dataset's folder; default: the one that the run recorded")
    parser.add_argument("--levels", default="all", help="multi, single, or all taps; several behind commas")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    levels = options.levels.split(",")
    recipe, record = read_run(options.run)
    heads = ["domain", "baseline", "AdaIN multi", *(f"fitted on the target's labels, {name}" for name in levels)]
    lines = [
        f"# {recipe.name}: what units can do that may look at the target",
        "",
        f"`python benchmarks/unit_ceiling.py runs/{recipe.name}`, code {code_version()}, on the network of "
        f"[{recipe.name}]({recipe.name}.md), code {record['code']}. An oracle: the units' numbers are fitted on half "
        f"of the target's patients, with labels (at most {STEPS} steps of 8 images, learned strength), and tested on "
        "the other half, and the reverse. Dice of the first label at the network's input size, with 95 % intervals, "
        "bootstrap of patients, the fits held fixed. A lower bound of what one scale and one offset a channel can do.",
        "",
        "| " + " | ".join([*heads, "cases"]) + " |",
        "|---|" + "--:|" * (len(heads)),
        *table(options.run, options.data, levels),
        "",
    ]
    path = options.output / f"{recipe.name}_ceiling.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
