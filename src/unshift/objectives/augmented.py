"""Augmented training: one randomly deformed and recoloured view of each image, cross-entropy plus Dice.

"Baseline + augmentations" of the colour-quality paper (DCIN-CQG): the geometric and the photometric list in one
pipeline, one view, the same loss as ``erm``. Setting: generalization, one or more source domains. Difference from the
authors' code: augmentation runs in batch on the device, and every image is interpolated once (see ``geometric``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unshift import config, discover
from unshift.config import MemberRef
from unshift.contracts import Augmentation, Network, Objective
from unshift.losses.overlap import segmentation_terms
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """The augmentations, in order, with their settings; and ``erm``'s setting."""

    augmentations: tuple[MemberRef, ...] = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    include_background: bool = True


class AugmentedRisk(Objective):
    """Cross-entropy + Dice on one augmented view; evaluation and export see images as they are."""

    Config = Config

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.augmentations = [_build(reference) for reference in config.augmentations]

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice`` of the view that ``batch.generator()`` draws."""
        images, label_maps = self.view(batch)
        return segmentation_terms(self.network(images), label_maps, include_background=self.config.include_background)

    @torch.no_grad()
    def view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Augmented images and label maps: a pure function of the batch, in the images' own precision.

        Neighbouring slices stacked as channels are augmented as the slices of one volume, with one draw, so that
        they stay registered and a colour shift is never taken for a difference between slices.
        """
        generator = batch.generator()
        images, label_maps = _as_slices(batch.images, self.task), batch.label_maps
        with torch.autocast(images.device.type, enabled=False):
            for augmentation in self.augmentations:
                parameters = augmentation.draw(generator, images)
                images = augmentation.apply(images, parameters)
                label_maps = augmentation.apply_label_maps(label_maps, parameters)
        return (images.transpose(1, 2).flatten(1, 2) if images.ndim > batch.images.ndim else images), label_maps


def _as_slices(images: Tensor, task: Task) -> Tensor:
    """[batch, slice x channel, height, width] -> [batch, channel, slice, height, width]; other images as they are."""
    if images.ndim == 4 and images.shape[1] > task.channels:
        return images.unflatten(1, (-1, task.channels)).transpose(1, 2)
    return images


def _build(reference: MemberRef) -> Augmentation:
    member = discover.load("augmentations", reference.name, where="objective augmented")
    settings = config.parse(member.Config, reference.settings, where=f"objective augmented: {reference.name}")
    return member(settings)


MEMBER = AugmentedRisk
