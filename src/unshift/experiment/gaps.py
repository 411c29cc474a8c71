"""Where the domains still differ in a feature: curves by region from the journals, maps over tested images.

Of objectives that know it (``gaps``, :mod:`unshift.experiment.watching`); empty for a run without any.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unshift import discover
from unshift.evaluate.protocol import Fold
from unshift.experiment.record import Run
from unshift.experiment.testing import bundle_path
from unshift.experiment.watching import BACKGROUND
from unshift.export.bundle import Bundle, load_bundle
from unshift.predict.predictor import Predictor
from unshift.predict.settings import PredictConfig
from unshift.report.content import Curve, GalleryItem, GapGroup, GapPicture
from unshift.sample import Task


def gap_groups(run: Run, plan: Sequence[Fold], gallery: Sequence[GalleryItem]) -> Iterator[GapGroup]:
    """One a fold that has something to show: what training measured, and the gap over the gallery's target images."""
    for fold in (fold for fold in plan if fold.kind == "held_out"):
        pipelines = [name for name in run.recipe.pipelines if _knows(run, name)]
        curves = [curve for name in pipelines for curve in _curves(run, fold, name)]
        pictures = [picture for name in pipelines for picture in _pictures(run, fold, name, gallery)]
        if curves or pictures:
            yield GapGroup(f"{', '.join(fold.sources)} → {', '.join(fold.targets)}", curves, pictures)


class Sureness(nn.Module):
    """Images -> logits whose second probability is the gap, so that a predictor puts it on the original grid."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch two *space"]:
        """0, and log(g / (1 - g)) for the gap g."""
        gap = self.network.gap_map(images)  # type: ignore[operator]
        return torch.cat([torch.zeros_like(gap), torch.logit(gap, eps=1e-6)], dim=1)


def gap_predictor(bundle: Bundle) -> Predictor:
    """Sample -> prediction whose second probability is the gap; 0 outside the field of view."""
    task = Task(bundle.task.channels, ("alike", "gap"), spatial_dims=bundle.task.spatial_dims)
    return Predictor(
        Sureness(bundle.network),
        task,
        input=bundle.input,
        config=PredictConfig(probabilities=True),
        preprocessing=bundle.preprocessing,
        normalizations=bundle.normalizations,
        size_divisor=bundle.network.size_divisor,
    )


def means(
    gap: np.ndarray, label_map: np.ndarray, regions: Mapping[str, frozenset[int]], *, valid: np.ndarray | bool = True
) -> dict[str, float]:
    """The mean gap over the valid pixels of each region that the label map shows, and of the background."""
    labels = {**regions, BACKGROUND: frozenset({0})}
    masks = {name: np.isin(label_map, sorted(values)) & valid for name, values in labels.items()}
    return {name: float(gap[mask].mean()) for name, mask in masks.items() if mask.any()}


def _knows(run: Run, pipeline: str) -> bool:
    return hasattr(discover.load("objectives", run.recipe.pipelines[pipeline].objective.name), "gaps")


def _curves(run: Run, fold: Fold, pipeline: str) -> Iterator[Curve]:
    text = run.journal_of(pipeline, fold, run.recipe.seeds[0]).read_text(encoding="utf-8")
    measured = [(line["step"], line["measures"]) for line in map(json.loads, text.splitlines()) if "measures" in line]
    for region in dict.fromkeys(name for _, values in measured for name in values):
        points = [(step, values[region]) for step, values in measured if region in values]
        yield Curve(pipeline, region, [step for step, _ in points], [value for _, value in points])


def _pictures(run: Run, fold: Fold, pipeline: str, gallery: Sequence[GalleryItem]) -> Iterator[GapPicture]:
    items = [item for item in gallery if item.pipeline == pipeline and item.domain in fold.targets]
    if not items:
        return
    builder = run.recipe.network_of(pipeline).settings.get("builder")  # the recipe itself names it
    path = bundle_path(run.folder, pipeline, fold.name, run.recipe.seeds[0])
    bundle = load_bundle(path, trust=[builder] if builder else [])
    if not hasattr(bundle.network, "gap_map"):
        return  # its settings leave no discriminator of features
    predictor, cases = gap_predictor(bundle), {case.key: case for case in fold.test}
    for item in items:
        sample = run.dataset.read_image(cases[f"{item.domain}/{item.case}"])
        found = predictor.predict(sample).probabilities
        assert found is not None  # asked for
        gap, valid = found[1].numpy(), True if sample.field_of_view is None else sample.field_of_view.numpy()
        yield GapPicture(item, gap, means(gap, item.reference, run.dataset.task.regions, valid=valid))
