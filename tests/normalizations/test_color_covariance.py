"""The linear Monge-Kantorovich map against SciPy, and its square root's gradient."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import inv, sqrtm

from colored_pictures import masks, pictures
from unshift.normalizations.color_covariance import MongeKantorovich, symmetric_root


def test_it_is_the_closed_form_in_scipy() -> None:
    method, inside = MongeKantorovich(), masks(1)
    image, other = pictures(1), pictures(1, seed=1, tint=(0.5, 0.8, 0.7))
    source, target = image[0][:, inside[0]].numpy(), other[0].flatten(1).numpy()
    rounding = np.eye(3) * method.ROUNDING
    a, b = (np.cov(x, bias=True) + rounding for x in (source, target))
    matrix = inv(sqrtm(a)) @ sqrtm(sqrtm(a) @ b @ sqrtm(a)) @ inv(sqrtm(a))
    expected = matrix @ (source - source.mean(1, keepdims=True)) + target.mean(1, keepdims=True)
    found = method.unclipped(image, method.statistics(other), inside)[0][:, inside[0]].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_means_of_half_a_million_pixels_are_reached_in_float32() -> None:
    method, side = MongeKantorovich(), 720
    image = pictures(1).float().repeat(1, 1, 40, 40)[..., :side, :side]
    inside = torch.ones(1, side, side, dtype=torch.bool)
    inside[:, :9] = False
    reference = method.statistics(pictures(1, seed=1, tint=(0.5, 0.8, 0.7)).float())
    moved = method.unclipped(image, reference, inside)[0][:, inside[0]]
    torch.testing.assert_close(moved.double().mean(1), reference[0, 3:6].double(), rtol=0, atol=3e-6)


def test_of_all_linear_maps_it_moves_colors_least() -> None:
    method, image, other = MongeKantorovich(), pictures(1), pictures(1, seed=1, tint=(0.5, 0.8, 0.7))
    moved = method.unclipped(image, method.statistics(other))
    centered = (moved - moved.mean((2, 3), keepdim=True)).flatten(2)
    values, vectors = torch.linalg.eigh(centered @ centered.transpose(1, 2))
    root = vectors * values.sqrt()[:, None] @ vectors.transpose(1, 2)
    for seed in range(5):  # any rotation between the square roots has the same covariance
        turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
        rival = (root @ turn @ torch.linalg.inv(root) @ centered).view_as(moved) + moved.mean((2, 3), keepdim=True)
        assert ((rival - image) ** 2).mean() > ((moved - image) ** 2).mean()


def test_square_roots_of_equal_eigenvalues_have_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    matrices = torch.cat([factor @ factor.transpose(1, 2), 2 * torch.eye(3, dtype=torch.float64)[None]])
    roots = symmetric_root(matrices)
    torch.testing.assert_close(roots @ roots, matrices)

    def of_symmetric(x: torch.Tensor) -> torch.Tensor:
        return symmetric_root((x + x.transpose(1, 2)) / 2)

    assert torch.autograd.gradcheck(of_symmetric, matrices.requires_grad_())
