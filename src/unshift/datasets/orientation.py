"""Volumes turned so that their axes point where a reader of slices expects them: axes permuted and flipped, no more.

Nothing is resampled: every voxel keeps its value, its size and, by the affine, its place in mm. Two modalities that
were stored along different axes can so be cut into slices of one kind.
"""

from __future__ import annotations

from typing import Literal

import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from unshift.contracts import Picture

Plane = Literal["axial", "coronal"]
TOWARD: dict[Plane, str] = {"axial": "SPL", "coronal": "PIL"}
"""Where depth, height and width point. A slice is seen as in radiology: the patient's right side at its left edge;
axial slices have the front on top and go from the feet to the head, coronal ones have the head on top, from front to
back."""


def oriented(picture: Picture, plane: Plane) -> Picture:
    """``picture`` [*channel, depth, height, width] with its spatial axes nearest to ``plane``; needs an affine."""
    assert picture.affine is not None
    affine = picture.affine.numpy()
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(TOWARD[plane])))
    array = picture.array.numpy()
    lead = array.ndim - 3
    order = np.argsort(turn[:, 0]).astype(int)
    turned = np.stack([apply_orientation(part, turn) for part in array]) if lead else apply_orientation(array, turn)
    spacing = picture.spacing and tuple(picture.spacing[i] for i in order)
    placed = affine @ inv_ornt_aff(turn, array.shape[lead:])
    return Picture(torch.from_numpy(np.ascontiguousarray(turned)), spacing, torch.from_numpy(placed))


def plane_codes(picture: Picture) -> str:
    """Where the axes point, as three letters out of R L A P S I."""
    assert picture.affine is not None
    return "".join(nib.aff2axcodes(picture.affine.numpy()))
