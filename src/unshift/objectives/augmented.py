"""Augmented training: one randomly deformed and recoloured view of each image, cross-entropy plus Dice.

"Baseline + augmentations" of the colour-quality paper (DCIN-CQG): the geometric and the photometric list in one
pipeline, one view, the same loss as ``erm``. Setting: generalization, one or more source domains. Difference from the
authors' code: augmentation runs in batch on the device, and every image is interpolated once (see ``geometric``).
"""

from __future__ import annotations

from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.objectives.views import AugmentingObjective
from unshift.sample import Batch, UnlabeledBatch


class Config(config.Config):
    """The augmentations, in order, with their settings; and ``erm``'s setting."""

    augmentations: tuple[MemberRef, ...] = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    include_background: bool = True


class AugmentedRisk(AugmentingObjective):
    """Cross-entropy + Dice on one augmented view; evaluation and export see images as they are."""

    Config = Config

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice`` of the view that ``batch.generator()`` draws."""
        images, label_maps = self.view(batch)
        return self.supervised(self.network(images), label_maps)

    def view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Augmented images and label maps: a pure function of the batch, in the images' own precision."""
        return self.augmented(batch, batch.generator())


MEMBER = AugmentedRisk
