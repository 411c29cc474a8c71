"""Style units against instance normalization, by hand, and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from unshift.layers.restyle import moments, restyle, statistics
from unshift.randomness import torch_generator

SHAPES = ((2, 5, 12, 10), (1, 3, 7, 9), (3, 4, 6, 5, 4))
LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def draw(*shape: int, seed: int = 0, channels_last: bool = False) -> Tensor:
    values = torch.randn(shape, generator=torch_generator(seed)) * 2 + 3
    return values.contiguous(memory_format=LAYOUT[len(shape)]) if channels_last else values


def style(channels: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch_generator(seed)
    return torch.rand(channels, generator=generator) + 0.5, torch.randn(channels, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_full_strength_is_instance_normalization(shape: tuple[int, ...], channels_last: bool) -> None:
    features, (weight, bias) = draw(*shape, channels_last=channels_last), style(shape[1])
    result = restyle(features, weight, bias)
    torch.testing.assert_close(result, functional.instance_norm(features, weight=weight, bias=bias))
    assert result.stride() == features.stride()  # of a single image, too: convolutions are slower without
    assert result.dtype == features.dtype


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0.3, torch.tensor(0.3)])
def test_less_strength_blends_with_the_feature(shape: tuple[int, ...], strength: float | Tensor) -> None:
    features, (weight, bias) = draw(*shape), style(shape[1])
    styled = functional.instance_norm(features, weight=weight, bias=bias)
    torch.testing.assert_close(restyle(features, weight, bias, strength=strength), 0.3 * styled + 0.7 * features)


def test_strength_zero_is_the_tensor_itself() -> None:
    features = draw(2, 3, 4, 4)
    assert restyle(features, *style(3), strength=0) is features
    assert restyle(features, *style(3), strength=0.0) is features


def test_every_image_may_have_its_own_strength_and_style() -> None:
    features = draw(3, 4, 6, 6)
    weights, biases = torch.stack([style(4, seed)[0] for seed in range(3)]), torch.randn(3, 4)
    strength = torch.tensor([0.0, 0.5, 1.0])
    result = restyle(features, weights, biases, strength=strength)
    assert torch.equal(result[0], features[0])  # bit for bit
    for i in (1, 2):
        alone = restyle(features[i : i + 1], weights[i], biases[i], strength=float(strength[i]))
        torch.testing.assert_close(result[i : i + 1], alone)


def test_a_feature_of_four_numbers_by_hand() -> None:
    features = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 2, 2)  # mean 4, variance 5
    result = restyle(features, torch.tensor([2.0]), torch.tensor([10.0]), eps=4.0)
    assert result.flatten().tolist() == pytest.approx([10 + 2 * d / 3 for d in (-3, -1, 1, 3)])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    offset=st.floats(-50, 50),
    scale=st.floats(0.5, 20),
)
def test_afterwards_statistics_are_the_styles(seed: int, height: int, width: int, offset: float, scale: float) -> None:
    features = draw(2, 3, height, width, seed=seed).double() * scale + offset
    weight, bias = (values.double() for values in style(3, seed))
    mean, deviation = statistics(restyle(features, weight, bias, eps=1e-12))
    torch.testing.assert_close(mean, bias.expand(2, 3), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(deviation, weight.expand(2, 3), atol=1e-6, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), gain=st.floats(0.1, 10), offset=st.floats(-5, 5))
def test_gain_and_offset_of_the_feature_do_not_matter(seed: int, gain: float, offset: float) -> None:
    features, (weight, bias) = draw(1, 2, 8, 8, seed=seed).double(), style(2, seed)
    plain = restyle(features, weight, bias, eps=1e-12)
    torch.testing.assert_close(restyle(gain * features + offset, weight, bias, eps=1e-12), plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_statistics_are_exact_far_from_zero(channels_last: bool, dtype: torch.dtype) -> None:
    features = (draw(2, 6, 40, 30, channels_last=channels_last) + 300).to(dtype)
    values = features.double().numpy()
    mean, deviation = statistics(features)
    assert mean.dtype == deviation.dtype == torch.float32
    np.testing.assert_allclose(mean.numpy(), values.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(deviation.numpy(), values.std(axis=(2, 3)), rtol=1e-4)


def test_both_ways_to_statistics_agree() -> None:
    features = draw(3, 4, 9, 8)
    fast, exact = moments(features), moments(features.clone().requires_grad_())
    for a, b in zip(fast, exact, strict=True):
        torch.testing.assert_close(a, b.detach())


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_stay_inside_the_field_of_view(shape: tuple[int, ...]) -> None:
    features = draw(*shape)
    inside = torch.rand(shape[0], *shape[2:], generator=torch_generator(3)) > 0.4
    mean, deviation = statistics(features, inside)
    for i in range(shape[0]):
        values = features[i][:, inside[i]].double()
        torch.testing.assert_close(mean[i], values.mean(1).float())
        torch.testing.assert_close(deviation[i], values.std(1, correction=0).float())


def test_a_mask_of_the_image_is_brought_to_the_features_size() -> None:
    features = draw(1, 2, 4, 4)
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    inside[:, :, :4] = True  # the left half
    inside[:, 0:2, 4] = True  # one half of a feature pixel: not more than half, so outside
    mean, _ = statistics(features, inside)
    torch.testing.assert_close(mean, features[..., :2].mean(dim=(2, 3)))


def test_an_image_whose_mask_vanishes_counts_as_a_whole() -> None:
    features = draw(2, 3, 4, 4)
    inside = torch.zeros(2, 16, 16, dtype=torch.bool)
    inside[0, :8] = True
    inside[1, 3, 3] = True  # one pixel of 16: nothing at the feature's size
    mean, deviation = statistics(features, inside)
    torch.testing.assert_close(mean[0], features[0, :, :2].mean(dim=(1, 2)))
    torch.testing.assert_close(mean[1], features[1].mean(dim=(1, 2)))
    torch.testing.assert_close(deviation[1], features[1].std(dim=(1, 2), correction=0))


def test_a_dead_channel_gives_its_bias_alone() -> None:
    noise = 1e-4 * draw(1, 2, 6, 6)  # deviation 2e-4
    weight, bias = torch.tensor([1.0, 1e-3]), torch.tensor([5.0, 7.0])
    result = restyle(noise, weight, bias, eps=1e-12)
    assert torch.equal(result[:, 0], torch.full((1, 6, 6), 5.0))
    assert statistics(result)[1][0, 1] == pytest.approx(1e-3, rel=1e-3)  # of a weak channel it is no noise
    assert float(restyle(noise, weight, bias, floor=0.0, eps=1e-12)[:, 0].std()) > 0.5


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_constant_features_and_single_pixels_stay_finite(value: float) -> None:
    for space in ((4, 4), (1, 1)):
        for strength in (1.0, 0.5):
            result = restyle(torch.full((2, 3, *space), value), *style(3), strength=strength)
            blend = strength * style(3)[1] + (1 - strength) * value
            torch.testing.assert_close(result, blend.view(1, 3, 1, 1).expand_as(result))


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_image_does_not_depend_on_its_batch(channels_last: bool) -> None:
    features, (weight, bias) = draw(4, 5, 8, 8, channels_last=channels_last).double(), style(5)
    together = restyle(features, weight, bias, strength=0.7)
    alone = torch.cat([restyle(image[None], weight, bias, strength=0.7) for image in features])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_reach_weight_bias_and_strength(channels_last: bool) -> None:
    features = draw(2, 3, 5, 5, channels_last=channels_last).double()
    weight, bias = (values.double().requires_grad_() for values in style(3))
    strength = torch.tensor([0.4, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: restyle(features, x[0], x[1], strength=x[2]), (weight, bias, strength))
    assert torch.autograd.gradcheck(lambda *x: restyle(features, *x), (weight, bias))  # another way inside


def test_gradients_reach_the_feature() -> None:
    features, (weight, bias) = draw(1, 2, 4, 4).double().requires_grad_(), style(2)
    inside = torch.rand(1, 4, 4, generator=torch_generator(0)) > 0.3
    assert torch.autograd.gradcheck(lambda x: restyle(x, weight.double(), bias.double()), (features,))
    assert torch.autograd.gradcheck(
        lambda x: restyle(x, weight.double(), bias.double(), fields_of_view=inside), (features,)
    )


def test_under_autocast_statistics_are_float32_and_the_feature_keeps_its_type() -> None:
    features, (weight, bias) = draw(2, 3, 16, 16), style(3)
    exact = restyle(features, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        low = features.bfloat16()
        assert moments(low)[1].dtype == torch.float32
        result = restyle(low, weight, bias, strength=1.0)
        blended = restyle(low, weight, bias, strength=0.5)
    assert result.dtype == blended.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), exact, atol=0.05, rtol=0.02)


def test_compiled_it_is_the_same() -> None:
    features, (weight, bias) = draw(2, 3, 8, 8), style(3)
    compiled = torch.compile(restyle, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features, weight, bias), restyle(features, weight, bias))
    inside = torch.rand(2, 16, 16, generator=torch_generator(0)) > 0.3
    options = {"strength": 0.5, "fields_of_view": inside}
    torch.testing.assert_close(compiled(features, weight, bias, **options), restyle(features, weight, bias, **options))
