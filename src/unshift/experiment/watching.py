"""Where the domains still differ while an objective learns: measured at each validation, for the journal.

An objective that knows has a method ``gaps(source images, target images) -> (source, target)``, maps in [0, 1] of the
images' size, or None where its settings leave nothing to know. It is asked in evaluation mode, and may not draw random
numbers or change anything, so that a training ends with the same weights whether it is watched or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from unshift.contracts import Objective
from unshift.sample import Task, UnlabeledBatch
from unshift.train.loader import Loader, UnlabeledLoader

BATCHES = 8
"""At most, of held-out source images and as many of the target."""
BACKGROUND, TARGET = "background", "target, whole images"


def watching(
    objective: Objective, task: Task, held_out: Loader | None, unlabeled: UnlabeledLoader | None
) -> Callable[[Objective], dict[str, float]] | None:
    """Objective -> name -> mean gap over the valid pixels of each region, of background, and of the target's images.

    Labels are those of held-out source images; of the target none is known in training, so its images count whole. A
    region that no image shows is left out. The same images are looked at each time. None where there is nothing to
    look at.
    """
    if held_out is None or unlabeled is None or not hasattr(objective, "gaps"):
        return None
    count = min(BATCHES, math.ceil(len(held_out.cases) / held_out.config.batch_size))
    regions = {**task.regions, BACKGROUND: frozenset({0})}

    def measured(objective: Objective) -> dict[str, float]:
        device = next(objective.parameters()).device
        sums: dict[str, list[float]] = {}
        for step in range(count):
            batch, target = held_out.batch(step).to(device), unlabeled.batch(step).to(device)
            found = objective.gaps(batch.images, target.images)  # type: ignore[operator]
            if found is None:
                return {}
            (source, valid), (other, seen) = _valid(found[0], batch), _valid(found[1], target)
            for name, labels in regions.items():
                _add(
                    sums,
                    name,
                    source[valid & torch.isin(batch.label_maps, torch.tensor(sorted(labels), device=device))],
                )
            _add(sums, TARGET, other[seen])
        return {name: total / pixels for name, (total, pixels) in sums.items()}

    return measured


def _valid(gap: torch.Tensor, batch: UnlabeledBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The gap, and where it is inside the field of view; both [batch, height, width]."""
    field = batch.fields_of_view
    return gap[:, 0], torch.ones_like(gap[:, 0], dtype=torch.bool) if field is None else field


def _add(sums: dict[str, list[float]], name: str, values: torch.Tensor) -> None:
    if values.numel():
        total = sums.setdefault(name, [0.0, 0.0])
        total[0] += float(values.double().sum())
        total[1] += values.numel()
