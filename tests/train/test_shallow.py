"""Weights of 3-D convolutions have right gradients in bfloat16 on the CPU, whatever the depth."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unshift.train.devices import Devices

KINDS = {"plain": nn.Conv3d, "transposed": nn.ConvTranspose3d}


def weight_gradient(layer: nn.Module, volume: Tensor) -> Tensor:
    """Of the mean of squares, after a step's forward as a training in bf16-mixed does it."""
    soiled = [torch.full((size,), float("nan")) for size in (10_000, 30_000, 100_000)]
    del soiled  # what is freed here is what a kernel gets that forgets to set its memory
    fabric = Devices(accelerator="cpu").fabric("bf16-mixed")
    module = fabric.setup_module(layer)
    fabric.backward(module(volume).float().square().mean())
    assert isinstance(layer.weight.grad, Tensor)
    return layer.weight.grad


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 3), (3, 3), (2, 5), (4, 5)])
def test_gradient_is_that_of_float64(kind: str, depth: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = KINDS[kind](8, 16, kernel, padding=kernel // 2)
    volume = torch.randn(2, 8, depth, 12, 12)
    exact = copy.deepcopy(layer).double()
    exact(volume.double()).square().mean().backward()
    assert isinstance(exact.weight.grad, Tensor)
    difference = weight_gradient(layer, volume).double() - exact.weight.grad
    assert difference.norm() < 0.02 * exact.weight.grad.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("depth", "dtype"), [(1, torch.bfloat16), (2, torch.float32), (3, torch.bfloat16)])
def test_only_the_shallow_stay_in_float32(kind: str, depth: int, dtype: torch.dtype) -> None:
    layer = KINDS[kind](2, 4, 3, padding=1, bias=False)
    seen: list[torch.dtype] = []
    layer.register_forward_hook(lambda _module, _given, result: seen.append(result.dtype))
    Devices(accelerator="cpu").fabric("bf16-mixed").setup_module(layer)(torch.randn(1, 2, depth, 6, 6))
    assert seen == [dtype]
