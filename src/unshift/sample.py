"""The nouns: Task, Case, Sample, UnlabeledBatch, Batch, Prediction, Score.

Arrays are in array axis order: 2-D space is ``(height, width)``, 3-D space is ``(depth, height, width)``, and axis 0
of a volume's space is the slice axis. ``spacing`` is in mm in the same order. ``affine`` maps homogeneous array
indices in the same order to RAS+ mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unshift.errors import ConfigError, ShapeMismatch


@dataclass(frozen=True)
class Task:
    """What is segmented: image channels, classes, regions, number of spatial axes.

    Args:
        channels: number of image channels.
        classes: names in label order; ``classes[0]`` is the background.
        regions: name -> labels scored together (disc = rim + cup). Default: each foreground class is one region.
        spatial_dims: 2 for pictures, 3 for volumes.
    """

    channels: int
    classes: tuple[str, ...]
    regions: Mapping[str, frozenset[int]] = field(default_factory=dict)
    spatial_dims: int = 2

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"Task: {self.channels} channels; at least 1 is required.")
        if len(self.classes) < 2:
            raise ConfigError(f"Task: classes are {self.classes}; background and one more class are required.")
        if self.spatial_dims not in (2, 3):
            raise ConfigError(f"Task: {self.spatial_dims} spatial dimensions; 2 or 3 are supported.")
        if not self.regions:
            singles = {name: frozenset({label}) for label, name in enumerate(self.classes) if label > 0}
            object.__setattr__(self, "regions", singles)
        for name, labels in self.regions.items():
            if not labels or not labels <= set(range(1, len(self.classes))):
                raise ConfigError(
                    f"Task: region {name!r} has labels {sorted(labels)}; "
                    f"a region needs one or more of the labels 1 … {len(self.classes) - 1}."
                )

    @property
    def num_classes(self) -> int:
        """Number of labels including background."""
        return len(self.classes)


@dataclass(frozen=True)
class Case:
    """One patient study or photograph, before anything of it is read.

    Args:
        name: unique within its domain.
        patient: id by which splits and bootstraps are made; the case's own name when nothing better is known.
        domain: camera, vendor, site or modality that the case belongs to.
        images: one file per channel group (nnU-Net), or one file; empty for generated data.
        labels: file of the label map, if any.
        field_of_view: file of the field-of-view mask, if any.
        split: ``train``, ``validation`` or ``test`` where the dataset's owners declare one.
        metadata: anything else a sidecar says (site, vendor, date).
    """

    name: str
    patient: str
    domain: str
    images: tuple[Path, ...] = ()
    labels: Path | None = None
    field_of_view: Path | None = None
    split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``domain/name``: unique within a dataset."""
        return f"{self.domain}/{self.name}"

    @property
    def is_labeled(self) -> bool:
        """Whether there is a label map, as far as can be known unopened: a file of it, or the case is generated."""
        return self.labels is not None or not self.images


@dataclass(frozen=True)
class Reference:
    """The picture whose colors a view was given.

    Args:
        kind: ``expert``, ``global`` or ``local``.
        name: ``domain/case`` of a source image, or the name of a file.
        likeness: cosine of the image and the reference, for references that are chosen by it.
        warning: what speaks against it; empty when nothing does.
    """

    kind: str
    name: str
    likeness: float | None = None
    warning: str = ""


@dataclass(frozen=True)
class Sample:
    """One image with what is known about it.

    Args:
        image: float32 [channel, *space]. Photographs are in [0, 1]; volumes keep their units (HU, arbitrary MR units).
        label_map: int64 [*space], or None when unknown or not to be looked at.
        spacing: mm per voxel in array axis order, or None when unknown (never 1 or 999).
        affine: float64 [4, 4], homogeneous array indices -> RAS+ mm, or None; of a picture, as a one-slice volume.
        field_of_view: bool [*space], or None when the whole grid is valid.
        case, patient, domain: ids.
        path: where the image came from, for messages.
        reference: of a normalized view, the picture that it was made to look like.
    """

    image: Float[Tensor, "channel *space"]
    case: str
    patient: str
    domain: str
    label_map: Int[Tensor, "*space"] | None = None
    spacing: tuple[float, ...] | None = None
    affine: Float[Tensor, "n n"] | None = None
    field_of_view: Bool[Tensor, "*space"] | None = None
    path: Path | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        for name, grid in (("label map", self.label_map), ("field of view", self.field_of_view)):
            if grid is not None and grid.shape != self.space:
                raise ShapeMismatch(
                    f"Case {self.case!r}: {name} is {_times(grid.shape)} but image is {_times(self.space)}; "
                    f"both must share one grid. Resample the {name} with order 0."
                )

    @property
    def space(self) -> torch.Size:
        """Sizes of the spatial axes."""
        return self.image.shape[1:]

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def unlabeled(self) -> Self:
        """A copy without the label map."""
        return replace(self, label_map=None)


@dataclass(frozen=True)
class UnlabeledBatch:
    """Images for one step. There is no label field: a target's labels cannot leak by mistake.

    Args:
        images: float32 [batch, channel, *space].
        domains, cases: one id per image.
        seed: decides all randomness of the step; the same batch gives the same losses.
        fields_of_view: bool [batch, *space], or None when all of every image is valid.
    """

    images: Float[Tensor, "batch channel *space"]
    domains: tuple[str, ...]
    cases: tuple[str, ...]
    seed: int = 0
    fields_of_view: Bool[Tensor, "batch *space"] | None = None

    def generator(self) -> torch.Generator:
        """A fresh CPU generator seeded by the batch: draw on the CPU, move, so that every device draws the same."""
        return torch.Generator().manual_seed(self.seed)

    def to(self, device: torch.device | str) -> Self:
        """A copy with its tensors on ``device``."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch(UnlabeledBatch):
    """An unlabeled batch and its label maps, int64 [batch, *space]."""

    label_maps: Int[Tensor, "batch *space"] = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if self.label_maps.shape != (self.images.shape[0], *self.images.shape[2:]):
            raise ShapeMismatch(
                f"Batch: label maps are {_times(self.label_maps.shape)} but images are {_times(self.images.shape)}; "
                "label maps must be [batch, *space] of the images."
            )


@dataclass(frozen=True)
class Prediction:
    """A label map on the original grid of its case.

    Args:
        label_map: int64 [*space].
        probabilities: float32 [class, *space], or None when they were not asked for.
        references: what the image's views were made to look like, in the order of the views.
    """

    case: str
    patient: str
    domain: str
    label_map: Int[Tensor, "*space"]
    probabilities: Float[Tensor, "class *space"] | None = None
    spacing: tuple[float, ...] | None = None
    affine: Float[Tensor, "n n"] | None = None
    notes: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Score:
    """One number about one region of one case: a row of ``scores.parquet``.

    ``value`` is NaN exactly when the metric is undefined by its written policy, and ``note`` then says why.
    ``unit`` is ``mm``, ``px`` (spacing unknown) or ``1``.
    """

    run: str
    pipeline: str
    dataset: str
    domain: str
    patient: str
    case: str
    region: str
    metric: str
    value: float
    unit: str
    reference_voxels: int
    prediction_voxels: int
    note: str = ""
    fold: str = ""
    seed: int = 0
    seen: bool = False


def _times(shape: torch.Size) -> str:
    return "×".join(str(n) for n in shape)
