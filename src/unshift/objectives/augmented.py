"""Augmented training: one randomly deformed and recoloured view of each image, cross-entropy plus Dice.

"Baseline + augmentations" of the colour-quality paper (DCIN-CQG): the geometric and the photometric list in one
pipeline, one view, the same loss as ``erm``. Setting: generalization, one or more source domains. Difference from the
authors' code: augmentation runs in batch on the device, and every image is interpolated once (see ``geometric``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.contracts import Network, Objective
from unshift.losses.overlap import segmentation_terms
from unshift.objectives.views import augmented, build_augmentations, source_files
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """The augmentations, in order, with their settings; and ``erm``'s setting."""

    augmentations: tuple[MemberRef, ...] = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    include_background: bool = True


class AugmentedRisk(Objective):
    """Cross-entropy + Dice on one augmented view; evaluation and export see images as they are."""

    Config = Config

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of the views: a training stored under other code is not this one."""
        return (*super().files(config), *source_files(config.augmentations))

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.augmentations = build_augmentations(config.augmentations, where="objective augmented")

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice`` of the view that ``batch.generator()`` draws."""
        images, label_maps = self.view(batch)
        return segmentation_terms(self.network(images), label_maps, include_background=self.config.include_background)

    def view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Augmented images and label maps: a pure function of the batch, in the images' own precision."""
        return augmented(
            batch.images,
            batch.label_maps,
            self.augmentations,
            generator=batch.generator(),
            channels=self.task.channels,
            domains=batch.domains,
        )


MEMBER = AugmentedRisk
