"""Base of the datasets that read files: scanning once, reading through the formats, checking what was read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from unshift.contracts import Dataset, Picture
from unshift.datasets.meaning import check_same_grid, times, to_channels, to_labels
from unshift.datasets.problem import Scan, raise_errors
from unshift.errors import DataError, UnknownName
from unshift.formats import reading
from unshift.sample import Case, Sample

_DIMENSIONS = ("spatial_dims", "dimensions")
"""Settings of datasets that say how many spatial axes the task has."""


class FileDataset(Dataset):
    """Cases that stand in files below one folder.

    A subclass says what the folder holds (:meth:`look`) and what the task is. ``root`` is the dataset's own folder.
    """

    tree: ClassVar[str]
    """The expected layout, drawn; errors show it."""
    values: Mapping[int, int] | None = None
    """Stored value -> label; None for the rule of :func:`unshift.datasets.meaning.to_labels`."""
    spacing: tuple[float, ...] | None = None
    """mm in array axis order, in place of what the files say; None to believe the files."""
    converts_channels: ClassVar[bool] = True
    """Whether grey and colour files are converted into what the task has."""

    def __init__(self, config: Any, root: Path | None = None) -> None:
        if root is None:
            raise DataError(f"{self.card.title}: no folder was given; its root (--data) is required.\n{self.expected}")
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; the root of {self.card.title} is required.\n{self.expected}")
        super().__init__(config, root)

    @property
    def folder(self) -> Path:
        """The root, known to be there."""
        assert self.root is not None
        return self.root

    @property
    def expected(self) -> str:
        """The expected tree as the end of a message."""
        return f"Expected layout:\n{self.tree}"

    @abstractmethod
    def look(self) -> Scan:
        """List the folder without opening an image; findings are returned, not raised."""

    @cached_property
    def scan(self) -> Scan:
        """What :meth:`look` found, the first time it was asked."""
        return self.look()

    @property
    def domains(self) -> tuple[str, ...]:
        """Names in the dataset's order."""
        return self.scan.domains

    def cases(self, domain: str) -> list[Case]:
        """All cases of ``domain``, sorted by name.

        Raises:
            UnknownName: no such domain.
            DataError: some files do not fit the layout; lists them.
        """
        if domain not in self.domains:
            raise UnknownName("domain", domain, self.domains, where=str(self.root))
        raise_errors(self.folder, self.scan.problems)
        return sorted((c for c in self.scan.cases if c.domain == domain), key=lambda c: c.name)

    def read_image(self, case: Case) -> Sample:
        """float32 [channel, *space] with the task's channels, its geometry and its field of view.

        Grey and colour are converted into each other where the task asks for it, and a volume of one slice is a
        picture in a 2-D task.

        Raises:
            DataError: a file cannot be read in full, holds NaN or infinite values, or has other channels or axes than
                the task.
            ShapeMismatch: channel files, or image and field of view, differ in size; names both files.
        """
        pictures = [self._fit(reading.read_image(path), path) for path in case.images]
        first, path = pictures[0], case.images[0]
        for picture, other in zip(pictures, case.images, strict=True):
            check_same_grid(
                first.array.shape[1:], picture.array.shape[1:], image_path=path, label_path=other, what="channel"
            )
        image = torch.cat([p.array for p in pictures]) if len(pictures) > 1 else first.array
        spacing, affine = self._geometry(first)
        return Sample(
            image=self._channels(image, path),
            case=case.name,
            patient=case.patient,
            domain=case.domain,
            spacing=spacing,
            affine=affine,
            field_of_view=self._field_of_view(case, image.shape[1:]),
            path=path,
        )

    def read_stored(self, case: Case) -> Picture:
        """The label map's values as stored, int64 [*space], with the file's geometry.

        Raises:
            DataError: the case has no label map, or its file cannot be read in full.
        """
        if case.labels is None:
            raise DataError(
                f"Case {case.key!r}: has no label map; one is required here. Add it, or leave the case out."
            )
        return self._fit(reading.read_label_map(case.labels), case.labels)

    def read_label_map(self, case: Case) -> Int[Tensor, "*space"]:
        """Labels 0 … num_classes - 1, int64.

        Raises:
            DataError: no label map, a file that cannot be read in full, or values outside the task (names them).
        """
        stored = self.read_stored(case)
        assert case.labels is not None
        return to_labels(stored.array, self.task, values=self.values, path=case.labels)

    def read(self, case: Case) -> Sample:
        """Image and label map on one grid. Raises :class:`ShapeMismatch`, naming both files, if they differ in size."""
        sample, label_map = self.read_image(case), self.read_label_map(case)
        assert case.labels is not None
        check_same_grid(
            sample.space, label_map.shape, image_path=case.images[0], label_path=case.labels, what="label map"
        )
        return sample.replace(label_map=label_map)

    def _channels(self, image: Tensor, path: Path) -> Tensor:
        if self.converts_channels or image.shape[0] == self.task.channels:
            return to_channels(image, self.task.channels, path=path)
        raise DataError(
            f"{path}: its case has {image.shape[0]} channel(s) in all; the task has {self.task.channels}. "
            "Correct the files or the declared channels."
        )

    def _fit(self, picture: Picture, path: Path) -> Picture:
        """``picture`` with the task's number of spatial axes."""
        array, dims = picture.array, self.task.spatial_dims
        space = array.shape[1:] if array.dtype.is_floating_point else array.shape
        if len(space) == dims:
            return picture
        if len(space) == 3 and dims == 2 and space[0] == 1:
            spacing = picture.spacing[1:] if picture.spacing else None
            return Picture(array.squeeze(-3), spacing=spacing, affine=picture.affine)
        key = next((k for k in _DIMENSIONS if k in type(self.config).model_fields), None)
        settable = key is not None and len(space) in (2, 3)
        remedy = f"Set dataset.{key}: {len(space)}, or convert the file." if settable else "Convert the file."
        raise DataError(f"{path}: has {len(space)} spatial axes ({times(space)}); the task has {dims}. {remedy}")

    def _geometry(self, picture: Picture) -> tuple[tuple[float, ...] | None, Tensor | None]:
        if self.spacing is None:
            return picture.spacing, picture.affine
        affine = picture.affine
        if affine is not None:
            factors = affine.new_ones(len(affine))
            sizes = affine[:-1, -1 - len(self.spacing) : -1].norm(dim=0)
            factors[-1 - len(self.spacing) : -1] = affine.new_tensor(self.spacing) / sizes
            affine = affine * factors
        return self.spacing, affine

    def _field_of_view(self, case: Case, space: torch.Size) -> Tensor | None:
        path = case.field_of_view
        if path is None:
            return None
        stored = self._fit(reading.read_label_map(path), path).array
        check_same_grid(space, stored.shape, image_path=case.images[0], label_path=path, what="field of view")
        return stored > 0
