"""The whole distribution of colors moved to the reference's, one direction of RGB after another.

Pitié, Kokaram and Dahyot, "Automated colour grading using colour distribution transfer", CVIU 2007: rotate, match the
distributions along three axes, rotate back, and again with another rotation (sliced optimal transport).

Rotations are fixed: six, spread evenly, twice. So the reference need not be there: of each of the 18 directions 64
values at equal shares are kept, which is all that is ever asked of it, and no pixel's place. Along a direction the
result is the reference's distribution to within the interpolation between those values; across directions sliced
transport is approximate by nature. Values that are tied, as a black border's, go to the middle of their ranks. Of
images beyond 65,536 pixels, that many, evenly spread, are sorted; all are moved.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.normalizations.color_method import ColorMethod
from unshift.normalizations.quantiles import middles

ROTATIONS, VALUES, ROUNDS = 6, 64, 2
_SORTED = 65_536


def _rotations(quaternions: Float[Tensor, "count 4"]) -> Float[Tensor, "count 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z) of any length."""
    w, x, y, z = (quaternions / torch.linalg.vector_norm(quaternions, dim=1, keepdim=True)).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], dim=1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], dim=1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1)


_QUATERNIONS = torch.tensor(
    [
        [1, 0, 0, 0],
        [-0.778, -0.358, 0.298, -0.422],
        [-0.153, 0.390, -0.854, -0.308],
        [0.488, 0.565, -0.648, -0.152],
        [0.674, 0.180, -0.497, -0.516],
        [-0.817, 0.519, 0.243, -0.066],
    ],
    dtype=torch.float64,
)
"""Found by random search: none of the 18 axes comes nearer than 28° to another."""
_BASES = _rotations(_QUATERNIONS)


class Sliced(ColorMethod):
    """Sliced optimal transport in RGB to 64 values along each of 18 directions."""

    name: ClassVar[str] = "sliced"
    color_size: ClassVar[int] = ROTATIONS * 3 * VALUES

    def color_statistics(self, encoded: Tensor, inside: Tensor | None) -> Tensor:
        """[rotation, axis, value], values ascending."""
        rows = []
        for index, image in enumerate(encoded):
            pixels = _sorted_ones(image, None if inside is None else inside[index])
            rows.append(torch.cat([_values(basis.to(pixels) @ pixels).flatten() for basis in _BASES]))
        return torch.stack(rows)

    def move(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """Image by image; ``own`` spares the first of twelve sorts."""
        results = []
        for index, image in enumerate(encoded):
            mask = None if inside is None else inside[index]
            tables = [row[index].unflatten(0, (ROTATIONS, 3, VALUES)) for row in (reference, own)]
            results.append(self._move_one(image, tables[0], tables[1][0], mask))
        return torch.stack(results)

    def _move_one(
        self, image: Float[Tensor, "3 *space"], wanted: Tensor, first: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "3 *space"]:
        for step in range(ROTATIONS * ROUNDS):
            basis = _BASES[step % ROTATIONS].to(image)
            turned = basis @ image.flatten(1)
            found = first if step == 0 else _values(basis @ _sorted_ones(image, mask))
            target = wanted[step % ROTATIONS]
            moved = torch.stack([_follow(*axis) for axis in zip(turned, found, target, strict=True)])
            image = (basis.T @ moved).unflatten(1, image.shape[1:])
        return image


def _sorted_ones(image: Float[Tensor, "3 *space"], mask: Bool[Tensor, "*space"] | None) -> Float[Tensor, "3 n"]:
    """Pixels inside, at most ``_SORTED`` of them, evenly spread."""
    pixels = image.flatten(1) if mask is None else image[:, mask]
    if pixels.shape[1] <= _SORTED:
        return pixels
    return pixels[:, torch.linspace(0, pixels.shape[1] - 1, _SORTED, device=image.device).long()]


def _values(turned: Float[Tensor, "3 n"]) -> Float[Tensor, "3 value"]:
    """Values at the middles of equal shares."""
    positions = (middles(VALUES).to(turned.device) * turned.shape[1]).long()
    return turned.sort(1).values[:, positions]


def _follow(
    values: Float[Tensor, " n"], found: Float[Tensor, " value"], wanted: Float[Tensor, " value"]
) -> Float[Tensor, " n"]:
    """From ranks in ``found`` to the same ranks in ``wanted``; beyond the ends moved as the ends are."""
    bounded = values.clamp(found[0], found[-1])
    table, places = found.detach().contiguous(), bounded.detach().contiguous()
    right = torch.searchsorted(table, places, right=True)
    lower = (right - 1).clamp(0, VALUES - 2)
    width = found.diff()
    rise = wanted.diff() / torch.where(width > 0, width, 1)
    result = wanted[lower] + rise[lower] * (bounded - found[lower]) + (values - bounded)
    if not (width == 0).any():
        return result
    left = torch.searchsorted(table, places)
    middle = (left + right - 1) / 2
    below = middle.floor().long().clamp_min(0)
    tied = (wanted[below] + wanted[(below + (middle > below)).clamp_max(VALUES - 1)]) / 2
    return torch.where(right - left > 1, tied + (values - bounded), result)
