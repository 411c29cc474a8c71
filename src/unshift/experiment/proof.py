"""What is checked of a saved repair, and how far it moves features towards the source's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from unshift.contracts import Network, Plugin
from unshift.experiment.candidates import Fitted
from unshift.experiment.plugging import as_network_sees
from unshift.experiment.training import apply
from unshift.export.bundle import Bundle, load_bundle
from unshift.plugins.units import StyleUnits
from unshift.sample import Sample


@dataclass(frozen=True)
class Check:
    """One thing that must hold of what was saved."""

    name: str
    holds: bool
    detail: str


ROUNDING = 1e-5
"""Largest difference of a probability that another memory layout of the same weights may make."""


def prove(saved: Bundle, path: Path, fitted: Sequence[Fitted], probes: Sequence[Sample]) -> tuple[Check, ...]:
    """Try the bundle at ``path`` and every candidate's units on some images.

    Args:
        saved: what was written to ``path``, as it is in memory.
        fitted: their units are tried at strength 0.
        probes: source images, unlabeled.
    """
    network = saved.network
    seen = as_network_sees((apply(saved.preprocessing, s) for s in probes), saved.input)
    images = torch.stack([sample.image for sample in seen]).to(network.input_mean.device)
    builder = getattr(network.config, "builder", None)  # it was run already: this network was made by it
    loaded = load_bundle(path, trust=[builder] if builder else ())
    checks = [_same_prediction(saved, loaded, probes), _open_door(network, images)]
    checks += [_strength_zero(one.name, one.plugin, network, images) for one in fitted if one.plugin is not None]
    return tuple(checks)


def _same_prediction(saved: Bundle, loaded: Bundle, probes: Sequence[Sample]) -> Check:
    """Probabilities of the bundle that was read again are those of the one in memory, but for the order of sums."""
    device = saved.network.input_mean.device
    both = [
        replace(bundle, predict=bundle.predict.model_copy(update={"probabilities": True})).predictor(device)
        for bundle in (saved, loaded)
    ]
    gaps = []
    for probe in probes:
        first, second = (predictor.predict(probe).probabilities for predictor in both)
        assert first is not None and second is not None
        gaps.append(float((first - second).abs().max()))
    detail = f"{len(probes)} images; largest difference of a probability: {max(gaps):g}"
    return Check("prediction from the saved bundle equals prediction in memory", max(gaps) <= ROUNDING, detail)


@torch.no_grad()
def _open_door(network: Network, images: Tensor) -> Check:
    """Features that are handed through unchanged give the network's own output."""
    same = torch.equal(network.restyled(images, lambda features: features), network(images))
    detail = f"{len(images)} images, bit for bit" if same else "the outputs differ"
    return Check("features handed through the taps unchanged give the network's output", same, detail)


@torch.no_grad()
def _strength_zero(name: str, plugin: Plugin, network: Network, images: Tensor) -> Check:
    """Units at strength 0 give the network's own output."""
    weak: Plugin = type(plugin)(plugin.config.model_copy(update={"strength": 0.0}))
    weak.load_state_dict(plugin.state_dict())
    same = torch.equal(weak.attach(network)(images), network(images))
    detail = f"{len(images)} images, bit for bit" if same else "the outputs differ"
    return Check(f"{name} at strength 0 gives the network's output", same, detail)


def distances(fitted: Fitted, places: Mapping[str, Sequence[Sample]]) -> pd.DataFrame:
    """How far features lie from the source's statistics, before and after restyling; no label is looked at.

    Args:
        fitted: a candidate with style units.
        places: images as the network sees them, by where they are from.

    Returns:
        Columns tap, place, before, after: ``‖mean − bias‖ + ‖deviation − |weight|‖`` over channels, averaged over
        images.
    """
    assert isinstance(fitted.plugin, StyleUnits)
    rows = [
        {"tap": row["tap"], "place": place, "before": row["before"], "after": row["after"]}
        for place, samples in places.items()
        for row in fitted.plugin.distance(fitted.bundle.network, samples)
    ]
    return pd.DataFrame(rows, columns=["tap", "place", "before", "after"])
