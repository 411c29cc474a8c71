from __future__ import annotations

import pytest
import torch
from torch import nn

from unshift.errors import ConfigError
from unshift.layers.convolution import activation, conv_block, convolution, normalization


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_keeps_the_size(dims: int, kernel: int) -> None:
    layer = convolution(dims, 2, 3, kernel=kernel)
    assert layer(torch.zeros(1, 2, *[6] * dims)).shape == (1, 3, *[6] * dims)
    assert sum(p.numel() for p in layer.parameters()) == 2 * 3 * kernel**dims + 3


@pytest.mark.parametrize("dims", [2, 3])
def test_norms_do_what_their_name_says(dims: int) -> None:
    x = torch.randn(4, 16, *[6] * dims, generator=torch.Generator().manual_seed(1)) * 3 + 5
    space = tuple(range(2, dims + 2))
    batch = normalization("batch", dims, 16)(x)
    torch.testing.assert_close(batch.mean((0, *space)), torch.zeros(16), atol=1e-5, rtol=0)
    instance = normalization("instance", dims, 16)
    torch.testing.assert_close(instance(x).mean(space), torch.zeros(4, 16), atol=1e-5, rtol=0)
    assert {name for name, _ in instance.named_parameters()} == {"weight", "bias"}
    group = normalization("group", dims, 16)(x).reshape(4, 8, -1)
    torch.testing.assert_close(group.mean(-1), torch.zeros(4, 8), atol=1e-5, rtol=0)
    assert normalization("none", dims, 16)(x) is x


def test_activations() -> None:
    assert activation("relu")(torch.tensor([-2.0, 3.0])).tolist() == [0.0, 3.0]
    torch.testing.assert_close(activation("leaky")(torch.tensor([-2.0, 3.0])), torch.tensor([-0.02, 3.0]))


def test_a_block_is_convolution_then_norm_then_activation() -> None:
    kinds = [type(layer) for layer in conv_block(2, 1, 8, norm="instance", act="leaky")]
    assert kinds == [nn.Conv2d, nn.InstanceNorm2d, nn.LeakyReLU]


def test_group_norm_needs_multiples_of_eight() -> None:
    with pytest.raises(ConfigError, match="12 channels; group norm needs multiples of 8"):
        normalization("group", 2, 12)
