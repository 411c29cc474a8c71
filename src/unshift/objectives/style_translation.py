"""Style translation: source images that look like the target's, and a segmenter that learns from them with the labels.

The global step of GLUA, "Mind The Gap" (Su et al., JBHI 2023, arXiv 2205.11888), in the form of the authors' sibling
DAR-UNet: of GLUA itself no more is known than that it transfers style by disentangled features [P]; networks, terms,
weights and rates are the sibling's [C]. Setting: adaptation. One step has three turns::

    generator       the six terms of losses/translation.py, 10 / 10 / 1 / 1 / 1 / 1         rate 0.1
    discriminator   least squares: images of both domains, contents                          rate 0.2
    segmenter       cross-entropy + Dice of f(ab), labels of a; ab by the average translator rate 1

What is exported is the segmenter f. Rates are factors on the learning rate, whose default of 1e-3 gives the authors'
1e-4 and 2e-4. ``average`` is the moving average of the translator, 0.999 [C], which translations are made with.

Differences from the authors' code:

* the segmenter learns beside the translator [F]; theirs is trained afterwards, on stored translations. So it is the
  ablation "global only" in one training, and its score on source patients watches the translator, which its own losses
  do not [I]. A pipeline that comes ``after`` such a training is the authors' second stage: the average translator is
  taken over, frozen, and the segmenter's turn is the only one.
* Adam with their betas (0.5, 0.9) in place of rectified AdaBelief, which divides by the deviation of the gradient from
  its own average, not by its size, and begins with small steps while that is uncertain. Rectification has its like in
  ``train.warmup``.
* the generator's turn comes first, and the discriminators judge what it made in it; theirs come first, on the same
  graph. Either way each pair of images is translated once for both.
* the average begins with a short memory, (1 + n) / (10 + n) after n steps, until that is 0.999: trainings here may be a
  thousand steps long, after which 0.999 alone would keep a third of the initial weights.
* ``pairs``, where it is given, lets the translator learn from the first pairs of each batch alone, while the segmenter
  learns from all of it: a pair costs the translator several times what it costs the segmenter, and early on the number
  of its steps counts for more than their size [F].
* ``styles: bank`` of a second stage is the authors' third step without its files [C]: a code of each of six clusters
  for every source case, all of whose slices have the same six. By default the styles are those of the target images
  that the batch holds [F].
* ``statistics: target`` lets the batch norms of a test have the target's statistics (``adabn``). With an adversary they
  have them anyway, so that only from such a row on is the step to an adversary no more than that [F].
* all source domains share one style encoder and one discriminator, and so do all targets.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from unshift import config
from unshift.augmentations.intensities import require_unit
from unshift.config import MemberRef
from unshift.contracts import Network, Objective, Setting
from unshift.errors import ConfigError, ProtocolError
from unshift.layers.running_statistics import keeping
from unshift.losses import translation
from unshift.losses.overlap import segmentation_terms
from unshift.losses.translation import Side, TranslationWeights, discrimination, encoding_terms, least_squares, weighted
from unshift.networks import discriminator, style_bank, translator
from unshift.networks.discriminator import Judges, JudgesConfig
from unshift.networks.style_bank import StyleBank
from unshift.networks.translator import Translator, TranslatorConfig, as_signed, as_unit
from unshift.objectives.views import augmented, build_augmentations, source_files
from unshift.randomness import torch_generator
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """Sizes, weights and rates; what comes before, for source and target alike."""

    augmentations: tuple[MemberRef, ...] = Field((), description="of source and target, before everything else")
    translator: TranslatorConfig = TranslatorConfig()
    judges: JudgesConfig = JudgesConfig()
    weights: TranslationWeights = TranslationWeights()
    average: float = Field(0.999, ge=0, lt=1, description="of the translator's weights, at most")
    pairs: int | None = Field(None, ge=1, description="of each batch, that the translator learns from; null: all")
    generator_rate: float = Field(0.1, gt=0, description="factor on the learning rate")
    discriminator_rate: float = Field(0.2, gt=0, description="factor on the learning rate")
    styles: Literal["batch", "bank"] = Field(
        "batch", description="of translations: target images beside them, or a bank of codes (only `after` a row)"
    )
    statistics: Literal["translated", "target"] = Field(
        "translated", description="of batch norms in a test: of translated images, or the target's, as adabn"
    )
    betas: tuple[float, float] = Field((0.5, 0.9), description="of adam and adamw, for translator and discriminators")
    include_background: bool = Field(True, description="in Dice")


@dataclass(frozen=True)
class _Made:
    """What the generator's turn leaves to the discriminators': translations of a pair of batches, without gradients."""

    source: Tensor
    target: Tensor
    to_target: Tensor
    to_source: Tensor
    contents: tuple[Tensor, Tensor]


class StyleTranslation(Objective):
    """``translator`` learns, ``average`` follows it and translates, ``judges`` judge, ``network`` segments."""

    Config = Config
    setting = Setting("adaptation")
    phases: ClassVar[tuple[str, ...]] = ("generator", "discriminator", "segmenter")

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of networks and losses: other code is another training."""
        own = (Path(str(module.__file__)) for module in (translation, translator, discriminator, style_bank))
        return (*super().files(config), *source_files(config.augmentations), *own)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        if network.task.spatial_dims != 2:
            raise ConfigError(
                "objective style_translation: the network sees volumes; images are translated slice by slice. Give "
                "`input.size` two numbers."
            )
        self.augmentations = build_augmentations(config.augmentations, where="objective style_translation")
        channels = network.in_channels
        self.translator = Translator(config.translator, channels)
        self.average = copy.deepcopy(self.translator).requires_grad_(False)
        self.judges = Judges(config.judges, channels, 4 * config.translator.width)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.updates: Tensor
        self._followed: int | None = None
        self._made: list[_Made] = []
        self._bank: StyleBank | None = None

    @property
    def wants_styles(self) -> bool:
        """Whether :meth:`take_styles` has to be called before the first step."""
        return bool(self.config.styles == "bank")

    @property
    def translating(self) -> Translator:
        """What translations are made with: the average of the translator that learns, or learned."""
        return self.average

    def take_styles(self, bank: StyleBank) -> None:
        """The codes that translations are made with from now on; a function of the translator and its target images."""
        self._bank = bank

    @property
    def is_learning(self) -> bool:
        """Whether the translator learns in this training, not in one before it."""
        return "generator" in self.phases

    def begin_after(self, first: Objective) -> None:
        """Take the average translator of a finished training, frozen: from now on the segmenter learns alone.

        The second of the authors' two stages [C]. The translator that learned, and its discriminators, are left out.

        Raises:
            ConfigError: ``first`` has no translator, or other settings.
        """
        if not isinstance(first, StyleTranslation):
            raise ConfigError(
                f"found {type(first).__name__}, which gives no translator; one of objective style_translation is "
                "required. Name such a pipeline."
            )
        mine, others = (one.config.model_dump(mode="json", exclude={"styles", "statistics"}) for one in (self, first))
        if different := [name for name in mine if mine[name] != others[name]]:
            raise ConfigError(
                f"{', '.join(different)} of style_translation differ; the two must agree. Give both pipelines the same "
                "settings of it, by an anchor (&translation, *translation)."
            )
        self.average.load_state_dict(first.average.state_dict())
        self.phases = ("segmenter",)  # type: ignore[misc]
        del self.translator, self.judges

    def parameter_groups(self) -> dict[str, list[dict[str, Any]]]:
        """The translator's, the discriminators' and the segmenter's, at their rates; the first two with own betas."""
        segmenter = {"segmenter": [{"params": [p for p in self.network.parameters() if p.requires_grad]}]}
        if not self.is_learning:
            return segmenter
        config, betas = self.config, tuple(self.config.betas)
        generator = {"params": list(self.translator.parameters()), "scale": config.generator_rate, "betas": betas}
        judges = {"params": list(self.judges.parameters()), "scale": config.discriminator_rate, "betas": betas}
        return {"generator": [generator], "discriminator": [judges], **segmenter}

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Weighted terms: the generator's six; ``images`` and ``contents``; ``cross_entropy`` and ``dice``.

        Raises:
            ProtocolError: there are no target images.
            DataError: images are not in [0, 1], or within 0.05 of it.
            ShapeMismatch: source and target differ in number, size or channels, or are too small.
        """
        source, target, label_maps = self.views(batch, unlabeled)
        learned = slice(self.config.pairs)
        if phase == "generator":
            return self._generator_terms(source[learned], target[learned], (batch, unlabeled))
        if phase == "discriminator":
            return self._discriminator_terms(source[learned], target[learned], (batch, unlabeled))
        translated, keeps_target = self.styled(batch, source, target), self.config.statistics == "target"
        with keeping(self.network, 0.0) if keeps_target else nullcontext():
            logits = self.network(translated)
        if keeps_target and self.training:
            with torch.no_grad():
                self.network(target)
        return segmentation_terms(logits, label_maps, include_background=self.config.include_background)

    def views(self, batch: Batch, unlabeled: UnlabeledBatch | None) -> tuple[Tensor, Tensor, Tensor]:
        """Source images, target images, source label maps, augmented: a pure function of the batches."""
        if unlabeled is None:
            raise ProtocolError(
                "Objective style_translation: no target images; it needs some, without labels, in training. Give the "
                "protocol a target with cases to adapt to."
            )
        settings: Any = {"augmentations": self.augmentations, "channels": self.task.channels}
        empty = torch.zeros_like(unlabeled.images[:, 0], dtype=torch.int64)
        source, label_maps = augmented(
            batch.images, batch.label_maps, generator=batch.generator(), domains=batch.domains, **settings
        )
        target, _ = augmented(
            unlabeled.images, empty, generator=unlabeled.generator(), domains=unlabeled.domains, **settings
        )
        for images in (source, target):
            require_unit(images, who="Objective style_translation", remedy="(preprocessing: min_max, ct_window)")
            if self.is_learning:
                self.judges.check(images)
        return source, target, label_maps

    def styled(self, batch: Batch, source: Tensor, target: Tensor) -> Tensor:
        """The batch's source images, augmented as ``source``, in the styles that the settings name.

        Raises:
            ConfigError: a bank is wanted, and there is none.
        """
        if not self.wants_styles:
            return self.translated(source, target)
        if self._bank is None:
            raise ConfigError(
                "objective style_translation: no styles were taken, and `styles: bank` makes translations with those "
                "of a finished translator. Call take_styles first, or leave `styles` out."
            )
        draws = torch.randint(self._bank.count, (len(source),), generator=torch_generator(batch.seed, "style"))
        codes = [
            self._bank.draw(cluster, torch_generator(0, "style", domain, case, cluster))
            for domain, case, cluster in zip(batch.domains, batch.cases, draws.tolist(), strict=True)
        ]
        return self._translated(source, torch.stack(codes).to(source.device))

    @torch.no_grad()
    def translated(
        self, source: Float[Tensor, "batch channel height width"], target: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Source images in [0, 1] in the style of as many target images, by the average translator; float32."""
        return self._translated(source, self.average.style["target"](as_signed(target)))

    @torch.no_grad()
    def _translated(self, source: Tensor, codes: Tensor) -> Tensor:
        return as_unit(self.average(as_signed(source), codes))

    @torch.no_grad()
    def previews(
        self, source: Float[Tensor, "batch channel height width"], target: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch three channel height width"]:
        """Of each pair: the source image, its translation, the target image that gave the style; all in [0, 1]."""
        return torch.stack([source, self.translated(source, target), target], dim=1)

    def _generator_terms(self, source: Tensor, target: Tensor, batches: tuple[Any, Any]) -> dict[str, Tensor]:
        self._follow()
        first, second = self.translator.cycle(as_signed(source), as_signed(target))
        self._keep(first, second, batches)
        fixed = {name: parameter.detach() for name, parameter in self.judges.named_parameters()}
        contents = torch.cat([first.content, second.content])
        judged = functional_call(self.judges, fixed, (second.translated, first.translated, contents))
        own, other = judged[2].chunk(2)
        terms = encoding_terms(first, second) | {
            "image": least_squares(judged[0], 1.0) + least_squares(judged[1], 1.0),
            "confusion": least_squares([other], 1.0) + least_squares([own], 0.0),
        }
        return weighted(terms, self.config.weights)

    def _discriminator_terms(self, source: Tensor, target: Tensor, batches: tuple[Any, Any]) -> dict[str, Tensor]:
        made = self._recall(source, target, batches)
        real_source, real_target = as_signed(source), as_signed(target)
        judged: Any = self.judges(
            torch.cat([made.to_source, real_source.to(made.to_source)]),
            torch.cat([made.to_target, real_target.to(made.to_target)]),
            torch.cat([made.contents[1], made.contents[0]]),
        )
        fakes, reals = zip(*(scale.chunk(2) for judgments in judged[:2] for scale in judgments), strict=True)
        other, own = judged[2].chunk(2)
        return {"images": discrimination(fakes, reals), "contents": discrimination([other], [own])}

    def _keep(self, first: Side, second: Side, batches: tuple[Any, Any]) -> None:
        """Remember the translations for the discriminators' turn of the same step, which may be outside autocast."""
        if self.training:
            parts = (first.translated, second.translated, first.content, second.content)
            to_target, to_source, *contents = (part.detach().to(first.image) for part in parts)
            made = _Made(batches[0].images, batches[1].images, to_target, to_source, (contents[0], contents[1]))
            self._made.append(made)

    def _recall(self, source: Tensor, target: Tensor, batches: tuple[Any, Any]) -> _Made:
        """The generator's turn on these batches, if it was the last; else made now."""
        for made in self._made:
            if made.source is batches[0].images and made.target is batches[1].images:
                return made
        with torch.no_grad():
            to_target, to_source, content, other = self.translator.exchange(as_signed(source), as_signed(target))
        return _Made(source, target, to_target, to_source, (content, other))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average once for every step of the translator, and forget what was made before it.

        Steps write into the weights, which torch counts; a fresh object, at a training's begin or resumed from the
        end of a step, counts as moved. At the begin nothing is to follow, for both are equal.
        """
        if not self.training:
            return
        version = sum(parameter._version for parameter in self.translator.parameters())
        if version == self._followed:
            return
        self._followed = version
        self._made.clear()
        momentum = min((1 + int(self.updates)) / (10 + int(self.updates)), self.config.average)
        for mine, others in zip(self.average.parameters(), self.translator.parameters(), strict=True):
            mine.lerp_(others.to(mine), 1 - momentum)
        self.updates += 1


MEMBER = StyleTranslation
