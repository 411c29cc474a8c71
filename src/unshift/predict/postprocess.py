"""Explicit repairs of a label map: largest component, hole filling. Each says what it changed.

Both are guarded: a class that was not predicted stays absent, and an empty prediction stays empty. (RAM-DSIR's and
SAML's released filter turns an empty prediction into one that covers the whole volume.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from scipy import ndimage
from torch import Tensor


def keep_largest(
    label_map: Int[Tensor, "*space"], classes: Sequence[str]
) -> tuple[Int[Tensor, "*space"], tuple[str, ...]]:
    """Each foreground class keeps its largest component; the rest becomes background.

    Pixels that touch in any way, diagonals included, belong together (8 neighbours in 2-D, 26 in 3-D). Of components
    of equal size the first in scan order stays.

    Returns:
        The label map, and one note per class of which something was removed.
    """
    result = label_map.numpy().copy()
    everywhere = np.ones((3,) * result.ndim, dtype=bool)
    notes = []
    for label, name in list(enumerate(classes))[1:]:
        components, count = ndimage.label(label_map.numpy() == label, structure=everywhere)
        if count < 2:
            continue
        sizes = np.bincount(components.ravel())[1:]
        removed = (components > 0) & (components != 1 + int(sizes.argmax()))
        result[removed] = 0
        notes.append(f"largest_component: removed {int(removed.sum())} voxels of {name!r} in {count - 1} component(s)")
    return torch.from_numpy(result), tuple(notes)


def fill_holes(
    label_map: Int[Tensor, "*space"], classes: Sequence[str]
) -> tuple[Int[Tensor, "*space"], tuple[str, ...]]:
    """Background that one class encloses becomes that class.

    A hole is a component of background (connected through faces) that does not touch the border of the grid and whose
    face neighbours all bear one label. A gap between two classes is no hole, and no class overwrites another: a cup
    inside a rim stays a cup. Volumes are treated in 3-D.

    Returns:
        The label map, and one note per class that grew.
    """
    result = label_map.numpy().copy()
    components, _ = ndimage.label(result == 0)
    grown = dict.fromkeys(range(1, len(classes)), 0)
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        if any(side.start == 0 or side.stop == size for side, size in zip(box, result.shape, strict=True)):
            continue
        around = tuple(slice(side.start - 1, side.stop + 1) for side in box)
        hole = components[around] == index
        neighbours = np.unique(label_map.numpy()[around][ndimage.binary_dilation(hole) & ~hole])
        if len(neighbours) == 1:
            result[around][hole] = neighbours[0]
            grown[int(neighbours[0])] += int(hole.sum())
    notes = (f"fill_holes: added {voxels} voxels to {classes[label]!r}" for label, voxels in grown.items() if voxels)
    return torch.from_numpy(result), tuple(notes)
