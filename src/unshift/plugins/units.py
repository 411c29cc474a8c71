"""Style units: what ``adain`` and ``din`` share, whichever way they come to their weights and biases.

A unit sits where a feature enters the decoder: at the bottleneck, or on the skip's copy. It gives every channel of the
feature the mean and the deviation of source images (``layers.restyle``) and stores two numbers per channel.
"""

from __future__ import annotations

import copy
import inspect
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from unshift import discover
from unshift.config import Config as BaseConfig
from unshift.contracts import Network, Plugin
from unshift.errors import BundleError, ConfigError, DataError
from unshift.layers.restyle import Moments, moments, restyle, statistics
from unshift.plugins.bottleneck import LEAST_IMAGES, Gate, Nearest
from unshift.plugins.frozen import SKIPS, batches, chosen, frozen, style_statistics
from unshift.randomness import torch_generator
from unshift.sample import Sample

FieldsOfView = Bool[Tensor, "batch *space"]


class UnitsConfig(BaseConfig):
    """Where units are, which style they give, and how much of it."""

    levels: Literal["single", "multi"] | tuple[str, ...] = Field(
        "multi", description="single: the bottleneck; multi: and the three deepest skips; or names of taps"
    )
    style: Literal["single", "mean", "medoid", "nearest"] = Field(
        "mean",
        description="of the source images: one drawn by the seed, the mean of all, the one nearest to all others, or "
        "for each test image the one nearest to it",
    )
    strength: float = Field(1.0, ge=0, le=1, description="0: the network as it was")
    gate: Literal["none", "distance"] = Field(
        "none", description="distance: images whose features look like a source image's are left alone"
    )
    field_of_view: bool = Field(True, description="statistics inside the field of view, where an image has one")
    eps: float = Field(1e-5, gt=0, description="added to the variance")


class Style(NamedTuple):
    """What source images give at one tap.

    Args:
        weights, biases: of every style image, or one for all of them ([1, channel]).
        strength: a scalar that multiplies ``config.strength``, where the member learned one.
    """

    weights: Float[Tensor, "image channel"]
    biases: Float[Tensor, "image channel"]
    strength: Tensor | None = None


class Unit(nn.Module):
    """Weight and bias [channel], or of every source image [image, channel]; its own strength where one was learned."""

    weight: Tensor
    bias: Tensor
    strength: Tensor | None

    def __init__(self, weight: Tensor | None, bias: Tensor | None, strength: Tensor | None = None) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("bias", bias), ("strength", strength)):
            self.register_buffer(name, None if value is None else value.detach().clone())


class StyleUnits(Plugin):
    """Base of the members whose units normalize, scale and shift.

    A member says in :meth:`bank` which weight and bias each source image gives at each chosen tap; all else is here.
    ``strength``, ``field_of_view`` and ``eps`` do not enter the state: it may be loaded under others.
    """

    Config = UnitsConfig

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__(config)
        self.levels = nn.ModuleList()
        self.gate: Gate | None = None
        self.nearest: Nearest | None = None

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source that all style units share: stored scores of other code are stale."""
        members = discover.names("plugins")
        shared = [path for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem not in members]
        return (*super().files(config), *shared, Path(inspect.getfile(restyle)))

    @abstractmethod
    def bank(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> Sequence[Style]:
        """One :class:`Style` for each of ``taps`` (indices of ``network.taps``, shallow to deep).

        The network may be in any mode (see ``plugins.frozen``). What fitting logs goes to ``self.history``.
        """

    def fit(self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, seed: int = 0) -> Self:
        """Learn the units from source images; ``network`` stays as it is. See :class:`unshift.contracts.Plugin`."""
        least = LEAST_IMAGES if self.config.gate == "distance" else 1
        if len(style) < least:
            raise DataError(f"{len(style)} style image(s); {least} or more are required. Give images of the source.")
        taps = chosen(network.taps, self.config.levels)
        self.history = []
        styles = [Style(*s) for s in self.bank(network, style, content, taps=taps, seed=seed)]
        found = style_statistics(network, style, field_of_view=self.config.field_of_view)
        pick = self._pick(Nearest(*found[-1]), seed)
        self.levels = nn.ModuleList(Unit(pick(s.weights), pick(s.biases), s.strength) for s in styles)
        self.gate = self.gate_of(found)
        self.nearest = Nearest(*found[-1]) if self.config.style == "nearest" else None
        return self

    def _pick(self, bank: Nearest, seed: int) -> Any:
        """How the values of all style images [image, channel] become those that are kept."""
        count = len(bank.mean)
        if self.config.style == "mean":
            return lambda values: values.mean(dim=0)
        if self.config.style == "nearest":
            return lambda values: values.expand(count, -1)
        if self.config.style == "medoid":
            index = int(bank.distances((bank.mean, bank.deviation)).sum(dim=1).argmin())
        else:
            index = int(torch.randint(count, (), generator=torch_generator(seed, "style image")))
        return lambda values: values.expand(count, -1)[index]

    def attach(self, network: Network) -> Restyled:
        """``network`` itself behind a module that holds a copy of the units.

        Raises:
            ConfigError: not fitted, or fitted on a network with other taps.
        """
        return Restyled(network, self)

    def stored_numbers(self) -> int:
        """How many numbers the units keep: two per channel, and one more a unit where its strength was learned."""
        return sum(buffer.numel() for buffer in self.levels.buffers())

    def restyle(
        self, features: Sequence[Tensor], taps: Sequence[int], fields_of_view: FieldsOfView | None = None
    ) -> list[Tensor]:
        """The features of all taps, restyled at ``taps``; the others are the same objects."""
        given = fields_of_view if self.config.field_of_view else None
        known = {index: moments(features[index], given) for index in self._watched(len(features))}
        result = list(features)
        for index, (weight, bias, strength) in zip(taps, self.given(known), strict=True):
            result[index] = restyle(
                features[index],
                weight,
                bias,
                strength=strength,
                fields_of_view=given,
                eps=self.config.eps,
                known=known.get(index),
            )
        return result

    def given(self, known: Mapping[int, Moments]) -> list[tuple[Tensor, Tensor, float | Tensor]]:
        """Weight, bias and strength of every unit for a batch with this mean and variance at the watched taps."""
        found = [(mean, variance.sqrt()) for mean, variance in known.values()]
        strength = self.config.strength * self.gate(found) if self.gate is not None else self.config.strength
        choice = self.nearest(found[-1]) if self.nearest is not None else slice(None)
        return [
            (unit.weight[choice], unit.bias[choice], strength if unit.strength is None else strength * unit.strength)
            for unit in cast("list[Unit]", list(self.levels))
        ]

    def gate_of(self, found: Sequence[Moments]) -> Gate | None:
        """The gate that the configuration asks for, from mean and deviation of style images at all taps."""
        return Gate.fit(list(found)[-1 - SKIPS :]) if self.config.gate == "distance" else None

    def _watched(self, count: int) -> range:
        """Of ``count`` taps, those whose statistics decide on strength or style."""
        if self.gate is not None:
            return range(max(0, count - 1 - SKIPS), count)
        return range(count - 1, count) if self.nearest is not None else range(0)

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take over fitted units of any size.

        Raises:
            BundleError: names are missing or unknown for this configuration, or shapes do not fit each other.
        """
        units = range(len({match[1] for name in state if (match := re.match(r"levels\.(\d+)\.weight$", name))}))
        self._check(state, units)
        parts = [[state.get(f"levels.{i}.{part}") for part in ("weight", "bias", "strength")] for i in units]
        self.levels = nn.ModuleList(Unit(*part) for part in parts)
        self.gate = Gate(*(state[f"gate.{part}"] for part in Gate.STATE)) if self.config.gate == "distance" else None
        bank = [state[f"nearest.{part}"] for part in Nearest.STATE] if self.config.style == "nearest" else None
        self.nearest = Nearest(*bank) if bank else None
        return super().load_state_dict(state, assign=assign)  # always strict

    def _check(self, state: Mapping[str, Tensor], units: range) -> None:
        wanted = {f"levels.{i}.{part}" for i in units or (0,) for part in ("weight", "bias")}
        wanted |= {f"gate.{part}" for part in Gate.STATE if self.config.gate == "distance"}
        wanted |= {f"nearest.{part}" for part in Nearest.STATE if self.config.style == "nearest"}
        missing = sorted(wanted - state.keys())
        unknown = sorted(state.keys() - wanted - {f"levels.{i}.strength" for i in units})
        if missing or unknown:
            raise BundleError(
                f"{type(self).__name__}: missing {missing}, unknown {unknown}; the tensors of a plugin that was fitted "
                "with the same settings are required. Use the settings and the file of one bundle."
            )
        axes = 2 if self.config.style == "nearest" else 1
        for i in units:
            weight, bias = (tuple(state[f"levels.{i}.{part}"].shape) for part in ("weight", "bias"))
            if weight != bias or len(weight) != axes:
                raise BundleError(
                    f"{type(self).__name__}: unit {i} has weights {list(weight)} and biases {list(bias)}; equal shapes "
                    f"of {axes} axis or axes are required. Use the settings and the file of one bundle."
                )

    def distance(self, network: Network, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """How far features lie from the style, before and after restyling; no label is looked at.

        Returns:
            For each unit its ``tap``, and ``before`` and ``after``: ``‖mean − bias‖ + ‖deviation − |weight|‖``, the
            loss of methods such as DIN, averaged over ``samples``.
        """
        attached = self.attach(network)
        rows: list[list[Tensor]] = [[] for _ in attached.indices]
        with torch.no_grad(), frozen(network):
            for images, inside in batches(samples, network.input_mean.device):
                given = inside if self.config.field_of_view else None
                plain = network.encode(images)
                restyled = attached.restyle(plain, inside)
                units = attached.plugin.given({i: moments(plain[i], given) for i in self._watched(len(plain))})
                for row, index, (weight, bias, _) in zip(rows, attached.indices, units, strict=True):
                    gaps = [gap(statistics(f[index], given), weight, bias) for f in (plain, restyled)]
                    row.append(torch.stack(gaps, dim=1))
        means = [torch.cat(row).mean(dim=0).tolist() for row in rows]
        taps = [tap for tap, _, _ in attached.units()]
        return [{"tap": tap, "before": b, "after": a} for tap, (b, a) in zip(taps, means, strict=True)]


def gap(found: Moments, weight: Tensor, bias: Tensor) -> Float[Tensor, " batch"]:
    """``‖mean − bias‖ + ‖deviation − |weight|‖`` over channels: how far statistics lie from a unit's."""
    mean, deviation = found
    return (mean - bias).norm(dim=1) + (deviation - weight.abs()).norm(dim=1)


class Restyled(nn.Module):
    """A network, the same object, with units in front of its decoder: (images, fields_of_view=None) -> logits."""

    def __init__(self, network: Network, plugin: StyleUnits) -> None:
        super().__init__()
        self.network, self.plugin = network, copy.deepcopy(plugin).to(network.input_mean.device)
        self.indices = chosen(network.taps, plugin.config.levels)
        required = [network.taps[i].channels for i in self.indices]
        found = [unit.weight.shape[-1] for unit in cast("list[Unit]", list(plugin.levels))]
        if found != required:
            raise ConfigError(
                f"{type(network).__name__}: the units have {found or 'no'} channels, but its taps "
                f"{[network.taps[i].name for i in self.indices]} have {required}. Fit the plugin on this network."
            )

    def units(self) -> list[tuple[str, int, int]]:
        """Tap, stride and channels of every unit, shallow to deep."""
        taps = [self.network.taps[i] for i in self.indices]
        return [(tap.name, tap.stride, tap.channels) for tap in taps]

    def restyle(self, features: Sequence[Tensor], fields_of_view: FieldsOfView | None = None) -> list[Tensor]:
        """The features on their way into the decoder."""
        return self.plugin.restyle(features, self.indices, fields_of_view)

    def forward(
        self, images: Float[Tensor, "batch channel *space"], fields_of_view: FieldsOfView | None = None
    ) -> Float[Tensor, "batch class *space"]:
        """Logits; of strength 0, those of the network bit for bit."""
        if self.plugin.config.strength == 0:
            return self.network(images)
        return self.network.restyled(images, lambda features: self.restyle(features, fields_of_view))
