"""Augmented views of a batch: augmentations built from references, drawn once, applied to images and label maps.

:class:`AugmentingObjective` is what objectives share whose settings list ``augmentations`` that come before all else.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift import config, discover
from unshift.augmentations.partners import MixingAugmentation
from unshift.config import MemberRef
from unshift.contracts import Augmentation, Network, Objective
from unshift.errors import ConfigError
from unshift.geometry import as_channels, as_slices
from unshift.losses.overlap import segmentation_terms
from unshift.sample import Batch, Task


def build_augmentations(references: Sequence[MemberRef], *, where: str) -> list[Augmentation]:
    """The augmentations with their settings, in order; ``where`` names whose they are in errors.

    Raises:
        UnknownName: no such augmentation.
        ConfigError: settings that it does not have.
    """
    built = []
    for reference in references:
        member = discover.load("augmentations", reference.name, where=where)
        built.append(member(config.parse(member.Config, reference.settings, where=f"{where}: {reference.name}")))
    return built


def build_still(references: Sequence[MemberRef], *, where: str) -> list[Augmentation]:
    """As :func:`build_augmentations`, and every one leaves label maps as they are.

    Raises:
        ConfigError: also for an augmentation that moves label maps.
    """
    built = build_augmentations(references, where=where)
    for reference, member in zip(references, built, strict=True):
        if type(member).apply_label_maps is not Augmentation.apply_label_maps:
            raise ConfigError(
                f"{where}: {reference.name!r} moves label maps; only augmentations that change intensities and nothing "
                "else may stand here. Move it to the list whose draw images and label maps share."
            )
    return built


def source_files(references: Sequence[MemberRef]) -> tuple[Path, ...]:
    """The files whose source decides what views look like: this one and the augmentations'."""
    return (Path(__file__), *(Path(inspect.getfile(discover.load("augmentations", r.name))) for r in references))


@torch.no_grad()
def augmented(
    images: Float[Tensor, "batch channel *space"],
    label_maps: Int[Tensor, "batch *space"],
    augmentations: Sequence[Augmentation],
    *,
    generator: torch.Generator,
    channels: int,
    domains: Sequence[str] = (),
) -> tuple[Float[Tensor, "batch channel *space"], Int[Tensor, "batch *space"]]:
    """Images and label maps after one draw of each augmentation, in order, in the images' own precision.

    Args:
        images: as preprocessing leaves them; neighbouring slices stacked as channels are augmented as the slices of
            one volume, with one draw, so that they stay registered.
        label_maps: on the images' grid.
        augmentations: any number; none gives back what came in.
        generator: of all randomness.
        channels: of one slice.
        domains: of the images, for augmentations that mix them.
    """
    slices = as_slices(images, channels)
    with torch.autocast(images.device.type, enabled=False):
        for augmentation in augmentations:
            if isinstance(augmentation, MixingAugmentation):
                parameters = augmentation.draw(generator, slices, domains)
            else:
                parameters = augmentation.draw(generator, slices)
            slices = augmentation.apply(slices, parameters)
            label_maps = augmentation.apply_label_maps(label_maps, parameters)
    return as_channels(slices) if slices.ndim > images.ndim else slices, label_maps


class AugmentingObjective(Objective):
    """An objective of a ``Config`` with ``augmentations``, in order, and ``include_background``, of Dice."""

    ingredients: ClassVar[tuple[ModuleType, ...]] = ()
    """Modules beside the member's own and the augmentations' whose source decides what is trained."""

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of the views: a training stored under other code is not this one."""
        own = (Path(str(module.__file__)) for module in cls.ingredients)
        return (*super().files(config), *source_files(config.augmentations), *own)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        name = type(self).__module__.rpartition(".")[2]
        self.augmentations = build_augmentations(config.augmentations, where=f"objective {name}")

    def augmented(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch channel *space"], Int[Tensor, "batch *space"]]:
        """The batch's images and label maps after the list, see :func:`augmented`; ``generator`` is the batch's."""
        return augmented(
            batch.images,
            batch.label_maps,
            self.augmentations,
            generator=generator,
            channels=self.task.channels,
            domains=batch.domains,
        )

    def supervised(self, logits: Tensor, label_maps: Tensor) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice``, as ``erm`` has them."""
        return segmentation_terms(logits, label_maps, include_background=self.config.include_background)
