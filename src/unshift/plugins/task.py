"""Train units on the task itself: the frozen network must keep segmenting source images whose appearance was changed.

Ours, not a paper's. Weights and biases start at the mean style (AdaIN) and move in units of its deviation, so that one
learning rate fits every network. Gradients pass through the frozen decoder to the units alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unshift.contracts import Augmentation, Network
from unshift.errors import DataError
from unshift.geometry import as_channels, as_slices
from unshift.layers.restyle import Moments
from unshift.losses.overlap import segmentation_terms
from unshift.plugins.frozen import batches
from unshift.plugins.units import Style, StyleUnits, Unit
from unshift.sample import Sample

Part = tuple[Float[Tensor, "batch channel *space"], Int[Tensor, "batch *space"], Bool[Tensor, "batch *space"] | None]
"""Images, label maps, fields of view."""

START = 3.0
"""Logit of a learned strength before training: 0.95."""


class TrainableUnits(nn.Module):
    """Weights and biases of all units as departures from the mean style, in deviations of it.

    Args:
        bank: of every unit, mean and deviation [image, channel] of style images.
        learned_strength: whether each unit also learns one strength in (0, 1).
    """

    def __init__(self, bank: Sequence[Moments], *, learned_strength: bool) -> None:
        super().__init__()
        self.centers = [(mean.mean(0), deviation.mean(0)) for mean, deviation in bank]
        zeros = [torch.zeros_like(mean) for mean, _ in self.centers]
        self.weights = nn.ParameterList(zero.clone() for zero in zeros)
        self.biases = nn.ParameterList(zero.clone() for zero in zeros)
        logits = [zero.new_tensor(START) for zero in zeros] if learned_strength else []
        self.logits = nn.ParameterList(logits)

    def norms(self) -> list[Float[Tensor, ""]]:
        """How large the mean style of every unit is: ‖mean‖ + ‖deviation‖ over channels."""
        return [(mean.norm() + deviation.norm()).clamp_min(1e-12) for mean, deviation in self.centers]

    def styles(self) -> list[Style]:
        """Weight and bias [1, channel] of every unit, and its strength where it is learned."""
        strengths: list[Tensor | None] = [torch.sigmoid(logit) for logit in self.logits]
        strengths = strengths or [None] * len(self.centers)
        return [
            Style((deviation * (1 + weight))[None], (mean + deviation * bias)[None], strength)
            for (mean, deviation), weight, bias, strength in zip(
                self.centers, self.weights, self.biases, strengths, strict=True
            )
        ]


def labeled(network: Network, samples: Sequence[Sample], supervision: str) -> list[Sample]:
    """Samples with the label maps that training aims at: their own, or the network's prediction on the image as it is.

    Raises:
        DataError: ``labels``, and a sample has none; names the case.
    """
    if supervision == "network":
        device, found = network.input_mean.device, []
        with torch.no_grad():
            for sample in samples:
                found.append(sample.replace(label_map=network(sample.image[None].to(device)).argmax(1)[0].cpu()))
        return found
    for sample in samples:
        if sample.label_map is None:
            raise DataError(
                f"Case {sample.case!r}: no label map; din with objective task needs one of every style image. "
                "Give labeled source images, or set `supervision: network`."
            )
    return list(samples)


class ShiftedTask:
    """Segmentation loss of a network with units on source images under random appearance shifts.

    Args:
        network: frozen, in evaluation mode.
        units: as they will run; their numbers are replaced by those in training.
        taps: indices of the network's taps, one per unit.
        shift: draws and applies the appearance.
    """

    def __init__(self, network: Network, units: StyleUnits, taps: Sequence[int], *, shift: Augmentation) -> None:
        self.network, self.units, self.taps, self.shift = network, units, tuple(taps), shift

    def shifted(self, samples: Sequence[Sample], generator: torch.Generator) -> list[Part]:
        """Batches of images that look otherwise, with label maps and fields of view."""
        device, parts, start = self.network.input_mean.device, [], 0
        for images, inside in batches(samples, torch.device("cpu")):
            group = samples[start : start + len(images)]
            start += len(images)
            slices = as_slices(images, self.network.task.channels)
            parameters = self.shift.draw(generator, slices)
            label_maps = torch.stack([cast(Tensor, sample.label_map) for sample in group])
            looks = self.shift.apply(slices, parameters)
            looks = as_channels(looks) if slices.ndim > images.ndim else looks
            label_maps = self.shift.apply_label_maps(label_maps, parameters)
            seen = None if inside is None else self.shift.apply_label_maps(inside.long(), parameters).bool().to(device)
            parts.append((looks.to(device), label_maps.to(device), seen))
        return parts

    def terms(self, trained: TrainableUnits, parts: Sequence[Part]) -> dict[str, Float[Tensor, ""]]:
        """Mean over all images of the parts."""
        for unit, style in zip(cast("list[Unit]", list(self.units.levels)), trained.styles(), strict=True):
            unit.weight, unit.bias, unit.strength = style.weights[0], style.biases[0], style.strength
        count = sum(len(images) for images, _, _ in parts)
        totals: dict[str, Tensor] = {}
        for images, label_maps, inside in parts:
            logits = self.network.restyled(images, partial(self._restyle, inside=inside))
            for name, term in segmentation_terms(logits, label_maps).items():
                totals[name] = totals.get(name, 0) + term * (len(images) / count)
        return totals

    def _restyle(self, features: list[Tensor], inside: Tensor | None) -> list[Tensor]:
        return self.units.restyle(features, self.taps, inside)
