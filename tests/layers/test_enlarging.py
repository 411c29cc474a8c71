from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unshift.layers.enlarging import Enlarging


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_enlargement_and_a_convolution_with_5_by_5(bias: bool) -> None:
    torch.manual_seed(0)
    layer = Enlarging(3, 4, bias=bias).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, layer.bias, padding=2)
    torch.testing.assert_close(layer(x), expected)
    towards = torch.randn_like(expected)
    own = torch.autograd.grad(layer(x), [x, *layer.parameters()], towards)
    other = torch.autograd.grad(expected, [x, *layer.parameters()], towards)
    for mine, theirs in zip(own, other, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_its_parameters_are_those_of_the_convolution() -> None:
    layer = Enlarging(3, 4)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 4 * 25 + 4
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_it_follows_bfloat16() -> None:
    layer, x = Enlarging(3, 4), torch.rand(1, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), layer(x), atol=0.05, rtol=0.05)
