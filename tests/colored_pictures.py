"""Smooth random color pictures, and slides in two stains: what the tests of color transfer look at."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

HEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)


def pictures(
    count: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = (24, 32),
    tint: tuple[float, float, float] = (0.9, 0.6, 0.5),
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """[count, 3, *size] in [0, 1], smooth with a little noise, no two images alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 5, generator=generator, dtype=torch.float64)
    noise = torch.rand(count, 3, *size, generator=generator, dtype=torch.float64)
    smooth = interpolate(coarse, size=size, mode="bilinear")
    return ((0.1 + 0.75 * smooth + 0.1 * noise) * torch.tensor(tint).double().view(3, 1, 1)).to(dtype)


def masks(count: int, *, seed: int = 0, size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """[count, *size] bool, about two thirds true."""
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed)) > 0.35


def slides(
    count: int,
    *,
    seed: int = 0,
    stains: tuple[tuple[float, ...], ...] = (HEMATOXYLIN, EOSIN),
    amounts: tuple[float, float] = (1.0, 0.8),
    size: tuple[int, int] = (40, 50),
) -> torch.Tensor:
    """[count, 3, *size]: each pixel one stain, or both, on white ground; float64."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(count, 2, *size, generator=generator, dtype=torch.float64) + 0.3
    kind = torch.randint(0, 4, (count, 1, *size), generator=generator)
    shares = torch.cat([(kind == 0) | (kind == 2), (kind == 1) | (kind == 2)], dim=1)  # kind 3 is ground
    matrix = torch.nn.functional.normalize(torch.tensor(stains, dtype=torch.float64), dim=1)
    density = torch.einsum("bshw,sc,s->bchw", weights * shares, matrix, torch.tensor(amounts).double())
    return ((1 + 1 / 255) * (-density).exp() - 1 / 255).clamp(0, 1)
