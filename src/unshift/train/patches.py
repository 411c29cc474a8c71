"""What the network gets to see of one prepared sample: all of it resized, a slice, or a patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unshift.errors import ConfigError
from unshift.geometry import InputConfig, resize_image, resize_label_map, stack
from unshift.sample import Sample


@dataclass(frozen=True)
class Piece:
    """Image, label map and field of view on one grid, as kept in memory and as given to a batch.

    Args:
        image: float32 [channel, *space].
        label_map: [*space], uint8 in memory when the labels fit, or None for unlabeled data.
        field_of_view: bool [*space] or None.
    """

    image: Tensor
    label_map: Tensor | None = None
    field_of_view: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that the tensors take."""
        parts = (self.image, self.label_map, self.field_of_view)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)


def prepare_piece(sample: Sample, config: InputConfig) -> Piece:
    """A sample as it is kept between epochs: everything that does not depend on chance is already done.

    Raises:
        ConfigError: a 3-D input size for a 2-D image.
    """
    axes = len(sample.space)
    if len(config.size) > axes:
        raise ConfigError(
            f"Case {sample.case!r}: the image has {axes} spatial axes but input.size is {config.size}; "
            "a picture needs (height, width). Set input.size to two numbers."
        )
    label_map = sample.label_map
    if label_map is not None and int(label_map.min()) >= 0 and int(label_map.max()) < 256:
        label_map = label_map.to(torch.uint8)
    piece = Piece(sample.image.float(), label_map, sample.field_of_view)
    whole = config.mode == "resize" and len(config.size) == axes
    return _resized(piece, config.size) if whole else piece


def slices(piece: Piece, config: InputConfig, *, generator: np.random.Generator) -> list[Piece]:
    """All slices of a volume as network inputs, from the first to the last; one of a picture. ``cut``'s arguments."""
    if piece.image.ndim == 4 and len(config.size) == 2:
        parts = [_slice(piece, index, config.neighbours) for index in range(piece.image.shape[1])]
        return [cut(part, config, foreground=0.0, generator=generator) for part in parts]
    return [cut(piece, config, foreground=0.0, generator=generator)]


def cut(piece: Piece, config: InputConfig, *, foreground: float, generator: np.random.Generator) -> Piece:
    """One network input: label map int64, sizes as ``config`` says.

    Args:
        piece: what :func:`prepare_piece` gave.
        foreground: probability that the slice or patch is chosen to show foreground, where there is any.
        generator: decides slice and patch.
    """
    wants_foreground = piece.label_map is not None and generator.random() < foreground
    if piece.image.ndim == 4 and len(config.size) == 2:
        piece = _slice(piece, _slice_index(piece, wants_foreground, generator), config.neighbours)
    if config.mode == "resize":
        piece = _resized(piece, config.size)
    else:
        piece = _window(_padded(piece, config.size), config.size, wants_foreground, generator)
    label_map = None if piece.label_map is None else piece.label_map.long()
    return Piece(piece.image, label_map, piece.field_of_view)


def _resized(piece: Piece, size: tuple[int, ...]) -> Piece:
    label_map, field = piece.label_map, piece.field_of_view
    return Piece(
        resize_image(piece.image, size),
        None if label_map is None else resize_label_map(label_map, size),
        None if field is None else resize_label_map(field.to(torch.uint8), size).bool(),
    )


def _slice_index(piece: Piece, wants_foreground: bool, generator: np.random.Generator) -> int:
    if wants_foreground and piece.label_map is not None:
        shown = torch.nonzero(piece.label_map.flatten(1).any(1)).flatten()
        if len(shown):
            return int(shown[generator.integers(len(shown))])
    return int(generator.integers(piece.image.shape[1]))


def _slice(piece: Piece, index: int, neighbours: int) -> Piece:
    label_map, field = piece.label_map, piece.field_of_view
    return Piece(
        stack(piece.image, index, neighbours),
        None if label_map is None else label_map[index],
        None if field is None else field[index],
    )


def _padded(piece: Piece, size: tuple[int, ...]) -> Piece:
    """Zeros (background, outside the field of view) on both sides of axes that are smaller than the patch."""
    lacking = [max(0, wanted - found) for wanted, found in zip(size, piece.image.shape[1:], strict=True)]
    if not any(lacking):
        return piece
    pads = [part for lack in reversed(lacking) for part in (lack // 2, lack - lack // 2)]
    field = piece.field_of_view
    if field is None:
        field = torch.ones(piece.image.shape[1:], dtype=torch.bool)
    return Piece(
        F.pad(piece.image, pads),
        None if piece.label_map is None else F.pad(piece.label_map, pads),
        F.pad(field, pads),
    )


def _window(piece: Piece, size: tuple[int, ...], wants_foreground: bool, generator: np.random.Generator) -> Piece:
    space = piece.image.shape[1:]
    center = _foreground_voxel(piece.label_map, generator) if wants_foreground else None
    if center is None:
        starts = [int(generator.integers(found - wanted + 1)) for found, wanted in zip(space, size, strict=True)]
    else:
        starts = [
            min(max(0, at - wanted // 2), found - wanted) for at, found, wanted in zip(center, space, size, strict=True)
        ]
    window = tuple(slice(start, start + wanted) for start, wanted in zip(starts, size, strict=True))
    label_map, field = piece.label_map, piece.field_of_view
    return Piece(
        piece.image[(slice(None), *window)],
        None if label_map is None else label_map[window],
        None if field is None else field[window],
    )


def _foreground_voxel(label_map: Tensor | None, generator: np.random.Generator) -> list[int] | None:
    """A foreground voxel, each equally likely; found through counts per row so that no long index is built."""
    if label_map is None:
        return None
    counts = torch.count_nonzero(label_map.flatten(1), dim=1).cumsum(0)
    total = int(counts[-1])
    if total == 0:
        return None
    rank = int(generator.integers(total))
    row = int(torch.searchsorted(counts, rank, right=True))
    before = int(counts[row - 1]) if row else 0
    inside = torch.nonzero(label_map[row])[rank - before]
    return [row, *inside.tolist()]
