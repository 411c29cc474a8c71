"""Dynamic instance normalization: units whose weights and biases come from nets trained on content and style images.

Liu et al., "Generalize Ultrasound Image Segmentation via Instant and Plug & Play Style Transfer", ISBI 2021. Per level
a weight net and a bias net learn, by L_BN = ‖μ(F_d) − μ(F_s)‖ + ‖σ(F_d) − σ(F_s)‖, to give the content feature of any
image the channel statistics of a style image; then they are thrown away, and two numbers per channel are kept. With
one number each, the optimum is b = μ(F_s), |W| = σ(F_s), which is AdaIN.

Deviations. L_BN cannot tell W from −W, which turns a channel upside down; we keep |W|, with which a style image comes
out as it was. The paper does not say what the nets look like, how long they are trained or which style is kept: see
``predictors``, ``training``, ``units``. Each content image is encoded once, as it does not change (``matching``).

Beyond the paper: ``objective: task`` trains the same numbers, begun at AdaIN, so that the frozen network keeps
segmenting source images under random appearance shifts; ``statistics+task`` adds L_BN to its loss.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from unshift import discover
from unshift.config import MemberRef, parse
from unshift.contracts import Augmentation, Network
from unshift.errors import DataError
from unshift.layers.restyle import Moments
from unshift.plugins.frozen import frozen, style_statistics
from unshift.plugins.matching import LevelPredictors, Matching, Terms
from unshift.plugins.task import ShiftedTask, TrainableUnits, labeled
from unshift.plugins.training import TrainingConfig, divide, draw, minimize
from unshift.plugins.units import Style, StyleUnits, Unit, UnitsConfig
from unshift.randomness import torch_generator
from unshift.sample import Sample


class DINConfig(UnitsConfig, TrainingConfig):
    """What units are trained for. The paper says Adam with 1e-3 and the content; the other defaults are ours."""

    objective: Literal["statistics", "task", "statistics+task"] = Field(
        "statistics", description="statistics: the paper's; task: segmentation of source images in changed appearance"
    )
    supervision: Literal["labels", "network"] = Field(
        "labels", description="of the task: labels of the style images, or what the network says of them as they are"
    )
    shift: MemberRef = Field(
        default=MemberRef(name="appearance"), description="of the task: augmentation that changes the appearance"
    )
    task_learning_rate: float = Field(1e-2, gt=0, description="of the task: Adam, in deviations of the mean style")
    learned_strength: bool = Field(False, description="of the task: each unit also learns how strong it is")
    statistics_weight: float = Field(
        0.1, ge=0, description="of L_BN beside the task; L_BN counts as a share of the mean style's norm"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.objective != "statistics" and self.style != "mean":
            raise ValueError(
                f"style is {self.style!r}; objective {self.objective!r} trains one style for all, the mean"
            )
        return self


class DIN(StyleUnits):
    """Units trained for statistics, for the task, or for both; ``history`` has the loss of every level and term."""

    Config = DINConfig

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of the augmentation that changes the appearance."""
        named = super().files(config)
        if config.objective == "statistics":
            return named
        return (*named, Path(inspect.getfile(discover.load("augmentations", config.shift.name, where="din: shift"))))

    def bank(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> Sequence[Style]:
        """Train, then give weight and bias of every style image; with a task, one for all of them.

        Raises:
            DataError: no content image where statistics are matched; no label map where one is needed.
            NumericalError: a loss is not finite.
        """
        if self.config.objective != "task" and not content:
            raise DataError(
                f"din: no content image; objective {self.config.objective!r} needs one or more. Ask for some "
                "(`content.count`; textures where there is no folder of photographs), or set `objective: task`."
            )
        with frozen(network):
            if self.config.objective == "statistics":
                return self._matched(network, style, content, taps=taps, seed=seed)
            return self._tasked(network, style, content, taps=taps, seed=seed)

    def _matched(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> list[Style]:
        config = self.config
        nets = LevelPredictors(network, taps, seed=seed)
        matching = Matching(network, content, taps, eps=config.eps)
        train, held_out = divide(style, config.held_out, seed=seed)

        def terms(indices: Sequence[int], generator: torch.Generator) -> Terms:
            units, styles = nets(network, [style[i] for i in indices], field_of_view=config.field_of_view)
            return matching.terms(units, styles, generator)

        def losses(step: int) -> Terms:
            generator = torch_generator(seed, "statistics", step)
            return terms([train[i] for i in draw(generator, len(train), config.batch_size)], generator)

        def check() -> Terms:
            return terms(held_out, torch_generator(seed, "held-out content"))

        self.history = minimize(nets, losses, check, config)
        with torch.no_grad():
            return [Style(unit.weights.abs(), unit.biases) for unit in nets(network, style)[0]]

    def _tasked(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> list[Style]:
        config = self.config
        samples = labeled(network, style, config.supervision)
        found = style_statistics(network, style, field_of_view=config.field_of_view)
        trained = TrainableUnits([found[i] for i in taps], learned_strength=config.learned_strength)
        task = ShiftedTask(network, self._running(trained, found), taps, shift=self._shift())
        train, held_out = divide(style, config.held_out, seed=seed)
        shifted = task.shifted([samples[i] for i in held_out], torch_generator(seed, "held-out shifts"))
        both = config.objective == "statistics+task"
        matching = Matching(network, content, taps, eps=config.eps) if both else None

        def pull(indices: Sequence[int], generator: torch.Generator) -> Terms:
            if matching is None:
                return {}
            styles = [(found[i][0][indices], found[i][1][indices]) for i in taps]
            terms = matching.terms(trained.styles(), styles, generator)
            scales = [config.statistics_weight / norm for norm in trained.norms()]
            return {name: scale * term for (name, term), scale in zip(terms.items(), scales, strict=True)}

        def losses(step: int) -> Terms:
            generator = torch_generator(seed, "task", step)
            indices = [train[i] for i in draw(generator, len(train), config.batch_size)]
            parts = task.shifted([samples[i] for i in indices], generator)
            return task.terms(trained, parts) | pull(indices, generator)

        def check() -> Terms:
            return task.terms(trained, shifted) | pull(held_out, torch_generator(seed, "held-out content"))

        self.history = minimize(trained, losses, check, config, learning_rate=config.task_learning_rate)
        with torch.no_grad():
            return trained.styles()

    def _running(self, trained: TrainableUnits, found: Sequence[Moments]) -> DIN:
        """Units as they will run, at full strength, to hold those in training."""
        running = DIN(self.config.model_copy(update={"strength": 1.0}))
        running.levels = nn.ModuleList(Unit(s.weights[0], s.biases[0], s.strength) for s in trained.styles())
        running.gate = running.gate_of(found)
        return running

    def _shift(self) -> Augmentation:
        reference = self.config.shift
        member = discover.load("augmentations", reference.name, where="din: shift")
        return member(parse(member.Config, reference.settings, where="din: shift"))


MEMBER = DIN
