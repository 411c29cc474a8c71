"""Turning a volume moves no voxel in the patient, whichever way it was stored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from unshift.contracts import Picture
from unshift.datasets.orientation import TOWARD, oriented, plane_codes

SIZES = (3.0, 1.5, 0.5)
WAYS = [(order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


def picture(order: tuple[int, ...], signs: tuple[int, ...], *, tilt: float = 0.0) -> Picture:
    """Each voxel holds its number; axes along ``order`` with ``signs``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * SIZES[axis]
    affine[:3, :3] = Rotation.from_euler("xyz", [tilt, tilt, tilt], degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (7, -5, 3)
    return Picture(torch.arange(24.0).reshape(1, 2, 3, 4), SIZES, torch.from_numpy(affine))


def places(found: Picture) -> dict[float, np.ndarray]:
    assert found.affine is not None
    array = found.array.reshape(found.array.shape[-3:])
    return {
        float(array[index]): found.affine.numpy() @ np.array([*index, 1.0])
        for index in itertools.product(*map(range, array.shape))
    }


@pytest.mark.parametrize("plane", TOWARD)
@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_every_voxel_keeps_its_value_size_and_place(plane, tilt: float) -> None:
    for order, signs in WAYS:
        before = picture(order, signs, tilt=tilt)
        after = oriented(before, plane)
        assert plane_codes(after) == TOWARD[plane]
        was, now = places(before), places(after)
        assert was.keys() == now.keys() and all(np.allclose(was[v], now[v]) for v in was)
        assert after.affine is not None and after.spacing is not None
        assert np.linalg.norm(after.affine.numpy()[:3, :3], axis=0) == pytest.approx(after.spacing)
        labels = oriented(Picture(before.array[0].long(), before.spacing, before.affine), plane)
        assert torch.equal(labels.array, after.array[0].long()) and labels.spacing == after.spacing


def test_slices_are_seen_as_in_radiology() -> None:
    """A point at the patient's right, front and head, and where it shows."""
    volume = torch.zeros(1, 5, 5, 5)
    volume[0, 4, 4, 0] = 1  # stored [x to the right, y to the front, z to the feet]
    stored = Picture(volume, (1.0, 1.0, 1.0), torch.diag(torch.tensor([1.0, 1, -1, 1], dtype=torch.float64)))
    assert torch.nonzero(oriented(stored, "axial").array[0]).tolist() == [[4, 0, 0]]  # uppermost slice, top, left
    assert torch.nonzero(oriented(stored, "coronal").array[0]).tolist() == [[0, 0, 0]]  # foremost slice, top, left
