"""What a model says of a few of its own source images, before time goes into repairing it: is it the model meant?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from unshift.evaluate.score import EvaluateConfig, score
from unshift.experiment.plugging import as_network_sees
from unshift.experiment.training import apply
from unshift.export.bundle import Bundle
from unshift.networks.own import Own
from unshift.sample import Sample

LOOKED_AT = 4
"""Source images; predicting them takes a moment where comparing takes minutes."""
LOW = 0.5
"""Dice below which a network on its own source images is more likely misread than bad."""
OUTPUT, SCORE = "output", "score"


def doubts(bundle: Bundle, samples: Sequence[Sample]) -> dict[str, str]:
    """What is odd about the model on its own images, by subject; empty where nothing is.

    Args:
        samples: source images; with ``label_map`` where labels are known.

    Raises:
        ConfigError: the module is declared to give probabilities, and does not.
    """
    found = {OUTPUT: _output(bundle, samples)}
    labeled = [sample for sample in samples if sample.label_map is not None]
    if labeled:
        values = [value for sample in labeled for value in _dice(bundle, sample) if not math.isnan(value)]
        found |= low_score(sum(values) / len(values), len(labeled)) if values else {}
    return {subject: text for subject, text in found.items() if text}


def low_score(dice: float, images: int) -> dict[str, str]:
    """The doubt that a mean of ``dice`` over source images raises, if it is low."""
    if not dice < LOW:
        return {}
    text = (
        f"The network as it is reaches {100 * dice:.0f} Dice points on {images} of its own source images. If it is "
        "better than that, something was declared wrongly: what its output means (`output`), `mean` and `deviation` "
        "of its input, the order of the task's `classes`, or which images are its source."
    )
    return {SCORE: text}


def _output(bundle: Bundle, samples: Iterable[Sample]) -> str:
    """Of modules of one's own alone: for the others, unshift knows what comes out."""
    if not isinstance(bundle.network, Own):
        return ""
    seen = as_network_sees((apply(bundle.preprocessing, sample.unlabeled()) for sample in samples), bundle.input)
    images = torch.stack([sample.image for sample in seen]).to(bundle.network.input_mean.device)
    return bundle.network.judge(images)


def _dice(bundle: Bundle, sample: Sample) -> list[float]:
    prediction = bundle.predictor(bundle.network.input_mean.device).predict(sample.unlabeled())
    config = EvaluateConfig(metrics=("dice",))
    rows = score(prediction, sample, bundle.task, config=config, run="", pipeline="none", dataset="source")
    return [row.value for row in rows]
