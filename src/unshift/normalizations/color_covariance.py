"""Mean and covariance of RGB moved to the reference's by the linear map that moves colors least."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.normalizations.color_method import ColorMethod, moments

_ROWS, _COLUMNS = torch.triu_indices(3, 3)


class MongeKantorovich(ColorMethod):
    """Linear Monge-Kantorovich: the one symmetric linear map between Gaussians, of mean and covariance in RGB.

    Pitié and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer", CVMP
    2007: T = A^(-1/2) (A^(1/2) B A^(1/2))^(1/2) A^(-1/2) for covariances A of the image and B of the reference. To both
    is added what rounding to 8 bits adds to a variance: directions with less are no signal to stretch.
    """

    name: ClassVar[str] = "monge_kantorovich"
    color_size: ClassVar[int] = 9
    ROUNDING: ClassVar[float] = (1 / 255) ** 2 / 12

    def color_statistics(self, encoded: Tensor, inside: Tensor | None) -> Tensor:
        """Three means, then the upper triangle of the covariance, row by row."""
        mean = moments(encoded, inside)[:, :3]  # on the CPU summed in float64; a long float32 product is off by 2e-4
        centered = encoded.flatten(2) - mean[..., None]
        if inside is not None:
            centered = centered * inside.flatten(1)[:, None]
        count = centered.shape[2] if inside is None else inside.flatten(1).sum(1)[:, None, None]
        covariance = centered @ centered.transpose(1, 2) / count
        return torch.cat([mean, covariance[:, _ROWS, _COLUMNS]], dim=1)

    def move(self, encoded: Tensor, reference: Tensor, own: Tensor, inside: Tensor | None) -> Tensor:
        """``T (v - mean) + mean of the reference``; ``T`` in float64."""
        source, target = (self._covariance(values[:, 3:].double()) for values in (own, reference))
        root = symmetric_root(source)
        inverse = torch.linalg.inv(root)
        matrix = (inverse @ symmetric_root(root @ target @ root) @ inverse).to(encoded)
        constant = reference[:, :3, None] - matrix @ own[:, :3, None]
        return (matrix @ encoded.flatten(2) + constant).unflatten(2, encoded.shape[2:])

    def _covariance(self, upper: Tensor) -> Tensor:
        full = upper.new_zeros(len(upper), 3, 3)
        full[:, _ROWS, _COLUMNS] = upper
        full = full + full.triu(1).transpose(1, 2)
        return full + self.ROUNDING * torch.eye(3).to(full)


class _SymmetricRoot(torch.autograd.Function):
    """The gradient solves R dR + dR R = dA, which needs no distance between eigenvalues."""

    @staticmethod
    def forward(context: Any, matrices: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrices)
        roots = values.clamp_min(0).sqrt()
        context.save_for_backward(roots, vectors)
        return vectors * roots[:, None] @ vectors.transpose(1, 2)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        roots, vectors = context.saved_tensors
        inner = vectors.transpose(1, 2) @ gradient @ vectors / (roots[:, None] + roots[..., None]).clamp_min(1e-12)
        return vectors @ inner @ vectors.transpose(1, 2)


def symmetric_root(matrices: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 3 3"]:
    """The symmetric square roots of symmetric matrices without negative eigenvalues; differentiable."""
    return _SymmetricRoot.apply(matrices)
