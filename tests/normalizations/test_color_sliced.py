"""Sliced transport: how near the reference's distribution it comes, and what its table holds."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from colored_pictures import masks, pictures
from unshift.normalizations import color_sliced
from unshift.normalizations.color_methods import color_method
from unshift.normalizations.color_sliced import ROTATIONS, VALUES, Sliced, _follow


def directions() -> torch.Tensor:
    """Fifty that are none of the method's own."""
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=1)


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Sliced Wasserstein distance, by SciPy."""
    found = [[(d @ x.flatten(1)).numpy() for d in directions()] for x in (first, second)]
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(*found, strict=True)]))


def test_rotations_are_rotations_and_differ() -> None:
    bases = color_sliced._BASES
    torch.testing.assert_close(bases @ bases.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(ROTATIONS, 3, 3))
    assert (torch.linalg.det(bases) > 0).all()
    axes = bases.flatten(0, 1)
    cosines = (axes @ axes.T).abs() - torch.eye(len(axes), dtype=torch.float64)
    assert cosines.max() < 0.881  # 28°


def test_it_comes_nearer_than_the_linear_maps() -> None:
    image = pictures(1, size=(60, 80))
    bent = pictures(1, seed=1, size=(60, 80)) ** 2.5  # no linear map makes this distribution
    left = {}
    for name in ("sliced", "monge_kantorovich", "lab"):
        method = color_method(name)
        left[name] = distance(method.unclipped(image, method.statistics(bent))[0], bent[0])
    assert left["sliced"] < 0.35 * min(left["lab"], left["monge_kantorovich"])
    assert left["sliced"] < 0.005 < distance(image[0], bent[0])


def test_one_direction_is_exact_to_the_interpolation() -> None:
    method, image, other = Sliced(), pictures(1, size=(60, 80)), pictures(1, seed=2, size=(60, 80))
    moved = method.unclipped(image, method.statistics(other))[0]
    last = color_sliced._BASES[-1]
    for found, wanted in zip(last @ moved.flatten(1), last @ other[0].flatten(1), strict=True):
        assert wasserstein_distance(found.numpy(), wanted.numpy()) < 0.002


def test_follow_by_hand() -> None:
    found = torch.linspace(0, 63, VALUES)
    wanted = found * 2 + 5
    values = torch.tensor([-2.0, 0, 10.25, 63, 70])
    assert _follow(values, found, wanted).tolist() == [3, 5, 25.5, 131, 138]
    tied = found.clone()
    tied[:21] = 0  # a third of the image is black: it goes to the middle of its ranks
    assert _follow(torch.zeros(1), tied, wanted).tolist() == [25]
    assert _follow(torch.zeros(1), tied, tied).tolist() == [0]


def test_the_table_is_of_sorted_values_and_not_of_places() -> None:
    image, inside = pictures(1), masks(1)
    shuffled = image.flatten(2)[:, :, torch.randperm(24 * 32, generator=torch.Generator().manual_seed(0))].view_as(
        image
    )
    assert torch.equal(Sliced().statistics(image)[:, 3:], Sliced().statistics(shuffled)[:, 3:])
    table = Sliced().statistics(image, inside)[0, 3:].view(ROTATIONS, 3, VALUES)
    expected = np.sort(image[0][:, inside[0]].numpy(), axis=1)
    places = ((np.arange(VALUES) + 0.5) / VALUES * expected.shape[1]).astype(int)
    np.testing.assert_allclose(table[0].numpy(), expected[:, places])


def test_of_large_images_some_pixels_are_sorted_and_all_are_moved() -> None:
    image, other = pictures(1, size=(260, 260)), pictures(1, seed=1, size=(260, 260))
    assert image[0, 0].numel() > color_sliced._SORTED
    moved = Sliced().unclipped(image, Sliced().statistics(other))
    assert distance(moved[0, :, ::5, ::5], other[0, :, ::5, ::5]) < 0.005
    own = Sliced().transfer(image, Sliced().statistics(image))
    assert (own - image).abs().max() < 1e-6
