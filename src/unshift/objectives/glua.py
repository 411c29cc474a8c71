"""GLUA: source images in the target's style, and an adversary on features that pulls hardest where the gap is largest.

Su, Yao, Yang, Wang, Yan, Sun, Huang, "Mind The Gap: Alleviating Local Imbalance for Unsupervised Cross-Modality Medical
Image Segmentation" (IEEE JBHI 2023, arXiv 2205.11888). Setting: adaptation, one source domain or more. No code was
released and no more than the abstract is known: a global step by style transfer, a local step by a feature mask [P].
The second stage below is a design of ours [F] around a class of the authors' sibling repository [C]; figures of the
paper cannot be compared with it. With s' the translated source with labels y, t the target, f the feature of one level,
D its discriminator (1: source), g the gap and the mask of :mod:`unshift.networks.local_mask`, decoded f (1 + g)::

    feature_discriminator   mean (D(f_s') - 1)² + mean D(f_t)²                         features without gradient
    segmenter               cross-entropy + Dice of s' and y
                            + ramp · 0.01 · mean over places of w (D(f_t) - 1)²        w = (1 + g_t) / mean (1 + g_t)
                            + output_weight · least squares on softmax maps            optional

The mask's gradient is stopped, or the segmenter could switch it off by fooling D. The literal mask has w = 1. With
``applied_to: adversary`` what is decoded is f, and the mask is in w alone.

``translation`` names the objective that gives s' (its phases come first in every step, so that one training holds both
stages; it must have ``views``, ``styled`` and ``translated``); null leaves source images as they are. A pipeline that
comes ``after`` one of ``style_translation`` with the same settings takes its translator, frozen, and has the two phases
above alone. Ablations by switch: ``mask: none``, ``feature_weight: 0`` (both: global only, no feature adversary at
all), ``mask: literal``, ``symmetric``. With everything off this is ``erm`` bit for bit.

Deviations from the proposal of the design: unless ``after``, translator and segmenter learn beside each other; the ramp
is in steps (the first 10 percent of the default 2000); no moving average of the segmenter. Each domain is normalized
with its own batch statistics, and a test with the target's: shown together (``statistics: joint``) the domains keep
their distance, and what is learned on translated images does not hold on the target.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from unshift import config, discover
from unshift.config import MemberRef, parse
from unshift.contracts import Network, Objective, Setting
from unshift.errors import ConfigError
from unshift.layers.running_statistics import by_the_batch, keeping
from unshift.losses.adversarial import squared
from unshift.losses.overlap import segmentation_terms
from unshift.networks import discriminator, domain_gap
from unshift.networks.domain_gap import MaskName, gap_of
from unshift.networks.style_bank import StyleBank
from unshift.networks.translator import Translator
from unshift.objectives import adversary, two_domains
from unshift.objectives.adversary import SOURCE, TARGET, OutputDiscriminator
from unshift.objectives.two_domains import Statistics, require_target
from unshift.sample import Batch, Task, UnlabeledBatch

_MEMORY = 0.99


class Config(config.Config):
    """What is translated, what is masked, and who pulls how hard."""

    translation: MemberRef | None = Field(MemberRef(name="style_translation"), description="null: source as it is")
    mask: Literal["literal", "symmetric", "none"] = "symmetric"
    tap: str = Field("bottleneck", description="the level: the deepest, or a tap's name")
    feature_weight: float = Field(0.01, ge=0, description="of the feature adversary; 0: none")
    ramp: int = Field(200, ge=0, description="steps until the weight is reached")
    reweighted: bool = Field(True, description="places of large gap pull harder (symmetric mask)")
    applied_to: Literal["features", "adversary"] = Field(
        "features", description="the mask: what is decoded, and how hard places pull; or the latter alone"
    )
    output_weight: float = Field(0.0, ge=0, description="of the output adversary; 0: none")
    discriminator_rate: float = Field(0.5, gt=0, description="factor on the learning rate, of both discriminators")
    inference: Literal["computed", "running_mean"] = Field("computed", description="where the mask of a test is from")
    statistics: Statistics = Field("target", description="of batch norms: each domain its own, or of both")
    include_background: bool = True

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.applied_to == "adversary" and not self.weighs:
            raise ValueError(
                "applied_to is 'adversary', but nothing weighs places there; mask: symmetric, reweighted: true and a "
                "feature_weight above 0 are required. For no mask at all set mask: none"
            )
        return self

    @property
    def weighs(self) -> bool:
        """Whether places of large gap pull harder."""
        return self.mask == "symmetric" and self.reweighted and self.feature_weight > 0

    @property
    def adapts(self) -> bool:
        """Whether the segmenter sees target images."""
        return self.mask != "none" or self.feature_weight > 0 or self.output_weight > 0


class Glua(Objective):
    """``translation``: the first stage; ``network``: with the mask; ``judge``: of softmax maps, if wanted."""

    Config = Config
    setting = Setting("adaptation")

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, those of the first stage, the mask and the adversaries."""
        own = [Path(str(module.__file__)) for module in (discriminator, domain_gap, adversary, two_domains)]
        own.append(Path(inspect.getfile(discover.load("networks", "local_mask"))))
        if config.translation is not None:
            member, settings = _first_stage(config.translation)
            own += [Path(inspect.getfile(member)), *member.files(settings)]
        return (*super().files(config), *own)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        first: Any = None
        if config.translation is not None:
            member, settings = _first_stage(config.translation)
            first = member(settings, task, network, sources)
        has_mask = config.mask != "none" or config.feature_weight > 0
        if has_mask:
            form: MaskName = config.mask if config.applied_to == "features" else "none"
            member = discover.load("networks", "local_mask")
            settings = member.Config(of=None, tap=config.tap, mask=form, inference=config.inference)
            network = member(settings, network.task, network.in_channels, network=network)
        super().__init__(config, task, network, sources)
        self.has_mask = has_mask
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.updates: Tensor
        self._counted: int | None = None
        self.judge: OutputDiscriminator | None = None
        if config.output_weight:
            self.judge = OutputDiscriminator(
                network.task.spatial_dims, task.num_classes, who="Objective glua: output_weight"
            )
        self.translation = first
        if first is not None:
            del first.network  # it is this objective's part, and a state must hold it once
            object.__setattr__(first, "network", network)
        self._set_phases()

    @property
    def wants_styles(self) -> bool:
        """Whether the translation wants a bank of styles."""
        return bool(getattr(self.translation, "wants_styles", False))

    @property
    def translating(self) -> Translator:
        """What the translation translates with."""
        translator: Translator = self.translation.translating
        return translator

    def take_styles(self, bank: StyleBank) -> None:
        """Give it to the translation."""
        self.translation.take_styles(bank)

    def begin_after(self, first: Objective) -> None:
        """Take the finished first stage, frozen: from now on the second learns alone.

        Raises:
            ConfigError: no first stage in the settings, or ``first`` does not have what it takes.
        """
        if not hasattr(self.translation, "begin_after"):
            raise ConfigError(
                "objective glua: its translation, as it is set, takes nothing from another training; style_translation "
                "does. Set translation to it, or remove `after`."
            )
        self.translation.begin_after(first)
        self._set_phases()

    def _set_phases(self) -> None:
        before = () if self.translation is None else self.translation.phases[:-1]
        self.phases = (*before, *(["feature_discriminator"] if self._judged() else []), "segmenter")  # type: ignore[misc]

    def _judged(self) -> bool:
        return self.judge is not None or self.has_mask

    def parameter_groups(self) -> dict[str, list[dict[str, Any]]]:
        """The first stage's own; both discriminators at their rate; the network without its discriminator."""
        groups = {} if self.translation is None else dict(self.translation.parameter_groups())
        judges = [] if self.judge is None else list(self.judge.parameters())
        if self.has_mask:
            local_mask: Any = self.network
            judges += list(local_mask.discriminator.parameters())
        taken = {id(parameter) for parameter in judges}
        rest = [p for p in self.network.parameters() if p.requires_grad and id(p) not in taken]
        groups["feature_discriminator"] = [{"params": judges, "scale": self.config.discriminator_rate}]
        groups["segmenter"] = [{"params": rest}]
        return {phase: groups[phase] for phase in self.phases}

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """``segmenter``: ``cross_entropy`` and ``dice``, weighted ``feature_adversary`` and ``output_adversary``;
        ``feature_discriminator``: ``features`` and ``outputs``; the first stage's phases: its own terms.

        Raises:
            DataError: there is no target image, or of another shape.
        """
        target = require_target(unlabeled, batch.images, who="Objective glua")
        if self.translation is not None and phase in self.translation.phases[:-1]:
            terms: dict[str, Tensor] = self.translation.losses(phase, batch, target)
            return terms
        source, label_maps, shown = self.views(batch, target)
        if phase == "feature_discriminator":
            return self._discriminators(source, shown)
        return self._segmenter(source, label_maps, shown)

    def views(self, batch: Batch, unlabeled: UnlabeledBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Source images in the target's style (or as they are), their label maps, target images."""
        if self.translation is None:
            return batch.images, batch.label_maps, unlabeled.images
        source, shown, label_maps = self.translation.views(batch, unlabeled)
        return self.translation.styled(batch, source, shown), label_maps, shown

    def previews(
        self, source: Float[Tensor, "batch channel height width"], target: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch column channel height width"]:
        """Of each pair: the source image, its translation if any, the target image that gave the style."""
        styled = () if self.translation is None else (self._styled(source, target),)
        return torch.stack([source, *styled, target], dim=1)

    def gaps(
        self, source: Float[Tensor, "batch channel height width"], target: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]] | None:
        """How sure the feature discriminator is of the domain at each pixel, in [0, 1]: of source images, translated if
        they are in training, and of as many target images. None where no discriminator looks at features.

        With ``statistics: target`` each domain is normalized by its own batch, as the discriminator meets it in
        training; the running statistics are the target's, and source features by these it has never seen.
        """
        if not self.has_mask:
            return None
        network: Any = self.network
        with by_the_batch(network) if self.config.statistics == "target" else nullcontext():
            return network.gap_map(self._styled(source, target)), network.gap_map(target)

    def _styled(self, source: Tensor, target: Tensor) -> Tensor:
        return source if self.translation is None else self.translation.translated(source, target)

    def weight(self) -> float:
        """Of the feature adversary at this step: it rises linearly over the ramp."""
        done = min(int(self.updates) / self.config.ramp, 1.0) if self.config.ramp else 1.0
        return float(self.config.feature_weight * done)

    def _encoded(self, source: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Unmasked features of either domain, by the batch statistics that the settings name."""
        network: Any = self.network
        encode = network.unmasked if self.has_mask else network.encode
        if self.config.statistics == "joint":
            both = encode(torch.cat([source, target]))
            return [f[: len(source)] for f in both], [f[len(source) :] for f in both]
        with keeping(network, 0.0):
            first = encode(source)
        return first, encode(target)

    def _decoded(self, first: list[Tensor], second: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of features, masked already, of either domain; the counterpart of :meth:`_encoded`."""
        if self.config.statistics == "joint":
            both = self.network.decode([torch.cat(pair) for pair in zip(first, second, strict=True)])
            return both[: len(first[0])], both[len(first[0]) :]
        with keeping(self.network, 0.0):
            logits = self.network.decode(first)
        return logits, self.network.decode(second)

    def _discriminators(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        terms: dict[str, Tensor] = {}
        told: tuple[Tensor, ...] = ()
        with torch.no_grad(), keeping(network, 0.0):
            features = self._encoded(source, target)
            if self.judge is not None:
                told = self._decoded(*(network.masked(f) if self.has_mask else f for f in features))
        if self.has_mask:
            judged = [network.discriminator(f[network.place].float()) for f in features]
            terms["features"] = squared(judged[0], 1.0) + squared(judged[1], 0.0)
        if self.judge is not None:
            outputs = [self.judge(logits.float().softmax(1)) for logits in told]
            terms["outputs"] = squared(outputs[0], SOURCE) + squared(outputs[1], TARGET)
        return terms

    def _segmenter(self, source: Tensor, label_maps: Tensor, target: Tensor) -> dict[str, Tensor]:
        c = self.config
        network: Any = self.network
        if not c.adapts:
            return segmentation_terms(network(source), label_maps, include_background=c.include_background)
        self._count()
        features = self._encoded(source, target)
        adversaries: dict[str, Tensor] = {}
        if self.has_mask:
            if c.feature_weight:
                judged = network.discriminator(features[1][network.place].float())
                share = 1 + gap_of(judged.detach().float(), c.mask) if c.weighs else torch.ones_like(judged)
                adversaries["feature_adversary"] = self.weight() * squared(judged, 1.0, share / share.mean())
            if network.config.mask != "none":
                gaps = [self._gap(f[network.place]) for f in features]
                self._remember(gaps[1])
                features = network.masked(features[0], gaps[0]), network.masked(features[1], gaps[1])
        logits = self._decoded(*features)
        if self.judge is not None:
            told = self.judge(logits[1].float().softmax(1))
            adversaries["output_adversary"] = c.output_weight * squared(told, SOURCE)
        terms = segmentation_terms(logits[0], label_maps, include_background=c.include_background)
        return terms | adversaries

    @torch.no_grad()
    def _gap(self, feature: Tensor) -> Tensor:
        """The gap, without gradient."""
        network: Any = self.network
        gap: Tensor = network.gap(feature)
        return gap

    def _remember(self, gap: Tensor) -> None:
        """Move the running mean towards the mean of the target's gap, in training alone."""
        if self.training:
            network: Any = self.network
            running = network.running_gap
            running.lerp_(gap.mean(), 1 - _MEMORY if int(self.updates) > 1 else 1.0)

    def _count(self) -> None:
        """One more step, however often losses are asked for at the same weights, in training alone."""
        version = sum(parameter._version for parameter in self.network.parameters())
        if self.training and version != self._counted:
            self._counted = version
            self.updates += 1


def _first_stage(ref: MemberRef) -> tuple[Any, Any]:
    member = discover.load("objectives", ref.name, where="objective glua: translation")
    if lacking := [name for name in ("views", "styled", "translated") if not hasattr(member, name)]:
        raise ConfigError(
            f"objective glua: translation {ref.name!r} does not translate, for it has no `{'`, no `'.join(lacking)}`. "
            "Set translation: style_translation, or null."
        )
    if "statistics" in ref.settings:
        raise ConfigError(
            f"objective glua: translation {ref.name!r} sets statistics, which are of that objective's own segmenter "
            "and not read here. Set `statistics` of glua itself."
        )
    return member, parse(member.Config, ref.settings, where=f"objective glua: translation {ref.name!r}")


MEMBER = Glua
