"""Augmented views of a batch: augmentations built from references, drawn once, applied to images and label maps."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift import config, discover
from unshift.augmentations.partners import MixingAugmentation
from unshift.config import MemberRef
from unshift.contracts import Augmentation
from unshift.errors import ConfigError
from unshift.geometry import as_channels, as_slices


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
