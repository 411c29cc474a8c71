"""Train and score on a folder of images in one call: a recipe with defaults, run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unshift.datasets.opening import recognize
from unshift.experiment.events import Listener, silence
from unshift.experiment.run import Result, run
from unshift.recipe import parse_recipe

NETWORK = {
    "name": "monai_net",
    "architecture": "FlexibleUNet",
    "encoder": "efficientnet-lite0",
    "pretrained": "imagenet",
}


def bench(
    data: str | Path,
    *,
    sources: Sequence[str],
    targets: Sequence[str],
    objectives: Sequence[str] = ("erm", "augmented"),
    steps: int = 1000,
    size: Sequence[int] = (256, 256),
    runs: str | Path = "runs",
    listener: Listener = silence,
) -> Result:
    """Train one pipeline per objective on ``sources``, score all of them on ``targets``, write a report.

    The first objective is the baseline. The network is MONAI's FlexibleUNet with an EfficientNet-Lite0 encoder that
    begins with ImageNet weights (they come with the installation). Everything else has a recipe's defaults; write a
    recipe for more.

    Args:
        data: a dataset's folder, in one of the layouts that ``unshift data check`` recognizes.
        sources: domains to train on.
        targets: domains that training never sees.
        objectives: names from ``unshift list objectives``.
        steps: gradient steps of each training.
        size: height and width that images are resized to for the network, multiples of 32.
        runs: where the run folder ``<name of the data's folder>`` is written.
        listener: is told about progress.

    Raises:
        UnshiftError: a file, a name or a number that is wrong; the message says what to do.
    """
    root = Path(data)
    member, settings = recognize(root)
    recipe = parse_recipe(
        {
            "name": re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-._") or "bench",
            "dataset": {"name": member, **settings},
            "protocol": {"sources": list(sources), "targets": list(targets)},
            "input": {"size": list(size)},
            "network": NETWORK,
            "train": {"steps": steps, "validate_every": max(1, steps // 10)},
            "pipelines": {name: {"objective": name} for name in objectives},
            "baseline": objectives[0],
        },
        where="bench",
    )
    return run(recipe, root=root, runs=Path(runs), listener=listener)
