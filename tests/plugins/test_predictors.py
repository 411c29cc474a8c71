"""Weight and bias nets: shapes, start, any input size, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from unshift.plugins.predictors import Predictor, UnitPredictor


def test_the_published_shapes() -> None:
    net = Predictor(1024, dims=2, start=1.0)
    assert [tuple(p.shape) for p in net.parameters()] == [(256, 1024, 3, 3), (256,), (1024, 256, 3, 3), (1024,)]


@pytest.mark.parametrize("dims", [2, 3])
def test_it_starts_with_weight_one_and_bias_zero_for_any_image(dims: int) -> None:
    weight, bias = UnitPredictor(6, dims=dims)(torch.randn(3, 6, *(5,) * dims))
    assert torch.equal(weight, torch.ones(3, 6)) and torch.equal(bias, torch.zeros(3, 6))


@settings(max_examples=20, deadline=None)
@given(
    space=st.one_of(
        st.tuples(st.integers(1, 17), st.integers(1, 17)),
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    ),
    channels=st.integers(1, 9),
)
def test_any_size_gives_one_number_a_channel(space: tuple[int, ...], channels: int) -> None:
    net = Predictor(channels, dims=len(space), start=0.0)
    torch.nn.init.normal_(net.layers[3].weight)
    values = net(torch.randn(2, channels, *space))
    assert values.shape == (2, channels) and torch.isfinite(values).all()


def test_arithmetic_redone_with_functions() -> None:
    torch.manual_seed(0)
    net, features = Predictor(8, dims=2, start=0.5), torch.randn(2, 8, 12, 8)
    torch.nn.init.normal_(net.layers[3].weight)
    first, second, third, last = (parameter.detach() for parameter in net.parameters())
    hidden = F.conv2d(features, first, second, padding=1).clamp_min(0)
    pooled = hidden.reshape(2, 2, 4, 3, 4, 2).mean(dim=(3, 5))
    expected = F.conv2d(pooled, third, last, padding=1).mean(dim=(2, 3))
    torch.testing.assert_close(net(features).detach(), expected)


def test_one_image_does_not_see_another() -> None:
    torch.manual_seed(0)
    net, features = UnitPredictor(4, dims=2), torch.randn(3, 4, 9, 7)
    for part in (net.weight, net.bias):
        torch.nn.init.normal_(part.layers[3].weight)
    together = net(features)
    for i in range(3):
        for all_of_them, alone in zip(together, net(features[i : i + 1]), strict=True):
            torch.testing.assert_close(all_of_them[i], alone[0])


def test_every_parameter_learns_within_two_steps() -> None:
    torch.manual_seed(0)
    net = UnitPredictor(4, dims=2)
    before = {name: value.clone() for name, value in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(2):
        weight, bias = net(torch.rand(4, 4, 8, 8))
        loss = (weight - torch.rand(4, 4)).square().mean() + (bias - torch.rand(4, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in net.named_parameters())
