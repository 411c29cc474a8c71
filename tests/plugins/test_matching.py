"""L_BN: its arithmetic, and the fact that its optimum is AdaIN."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.contracts import Network
from unshift.layers.restyle import restyle, statistics
from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.frozen import frozen
from unshift.plugins.matching import LevelPredictors, Matching, l_bn
from unshift.plugins.units import Style
from unshift.sample import Sample, Task


def network(spatial_dims: int = 2) -> Network:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 6, 8)), Task(1, ("background", "head"), spatial_dims=spatial_dims)).eval()


def pictures(count: int, *, seed: int = 0, space: tuple[int, ...] = (16, 16)) -> list[Sample]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, *space, generator=generator)
    return [Sample(image, f"{i}", f"{i}", "A") for i, image in enumerate(images)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.02, 0.1, 1.0, 30.0]))
def test_it_is_the_loss_of_features_that_were_really_restyled(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    content = scale * torch.randn(3, 5, 8, 6, generator=generator, dtype=torch.float64)
    style = torch.rand(3, 5, 7, 7, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    restyled = restyle(content, weight, bias).numpy()
    losses = [
        np.linalg.norm(restyled[i].mean((1, 2)) - style[i].numpy().mean((1, 2)))
        + np.linalg.norm(restyled[i].std((1, 2)) - style[i].numpy().std((1, 2)))
        for i in range(3)
    ]
    found = l_bn(weight, bias, statistics(content)[1], statistics(style))
    np.testing.assert_allclose(float(found), np.mean(losses), rtol=1e-9)


def test_the_optimum_of_the_published_objective_is_adain() -> None:
    generator = torch.Generator().manual_seed(0)
    style = statistics(torch.randn(1, 12, 20, 20, generator=generator, dtype=torch.float64) * 2 + 1)
    weight = torch.randn(1, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(1, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    signs = weight.detach().sign()
    assert len(signs.unique()) == 2
    for rate in (0.05, 0.005, 0.0005):
        optimizer = torch.optim.Adam([weight, bias], lr=rate)
        for _ in range(400):
            content = 0.5 + torch.rand(4, 12, generator=generator, dtype=torch.float64)
            loss = l_bn(weight, bias, content, (style[0].expand(4, -1), style[1].expand(4, -1)), eps=1e-12)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    mean, deviation = style
    torch.testing.assert_close(bias.detach(), mean, atol=5e-3, rtol=0)
    torch.testing.assert_close(weight.detach().abs(), deviation, atol=5e-3, rtol=0)
    assert torch.equal(weight.detach().sign(), signs), "the objective leaves the sign of a weight free"


@given(seed=st.integers(0, 1000), other=st.integers(0, 1000))
def test_it_does_not_depend_on_the_content_image(seed: int, other: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, bias, mean = torch.randn(3, 2, 6, generator=generator, dtype=torch.float64)
    style = (mean, torch.rand(2, 6, generator=generator, dtype=torch.float64))
    one, two = (
        0.1 + torch.rand(2, 6, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (seed, other)
    )
    first, second = l_bn(weight, bias, one, style, eps=1e-12), l_bn(weight, bias, two, style, eps=1e-12)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)


def test_a_channel_that_is_dead_in_the_content_still_learns_its_weight() -> None:
    weight = torch.tensor([[2.0, 2.0]], requires_grad=True)
    mean, deviation = torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])
    loss = l_bn(weight, torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), (mean, deviation), eps=1e-12)
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(1.5 * 2**0.5))
    assert weight.grad is not None and weight.grad[0, 0] == weight.grad[0, 1] > 0


def test_adain_values_have_no_loss_and_others_do() -> None:
    content, mean, deviation = torch.rand(3, 4, 6, dtype=torch.float64) + 0.5
    for sign in (1, -1):
        assert float(l_bn(sign * deviation, mean, content, (mean, deviation), eps=1e-12)) < 1e-9
    shifted = mean.clone()
    shifted[:, 0] += 3
    np.testing.assert_allclose(float(l_bn(deviation, shifted, content, (mean, deviation), eps=1e-12)), 3.0)
    wider = deviation.clone()
    wider[:, :2] += torch.tensor([3.0, 4.0], dtype=torch.float64)
    np.testing.assert_allclose(float(l_bn(wider, mean, content, (mean, deviation), eps=1e-12)), 5.0)


def test_terms_are_named_by_tap_and_need_no_more_content_than_there_is() -> None:
    net = network()
    matching = Matching(net, pictures(2), (0, 2), eps=1e-5)
    assert [tuple(found.shape) for found in matching.content] == [(2, 4), (2, 8)]
    units = [Style(torch.ones(1, c), torch.zeros(1, c)) for c in (4, 8)]
    styles = [(torch.zeros(5, c), torch.ones(5, c)) for c in (4, 8)]
    terms = matching.terms(units, styles, torch.Generator().manual_seed(0))
    assert list(terms) == ["level_1", "level_3"] and all(term.ndim == 0 for term in terms.values())


def test_predictors_give_units_and_statistics_of_each_style_image() -> None:
    for dims in (2, 3):
        net = network(dims)
        style = pictures(3, space=(8,) * dims)
        style[1] = style[1].replace(image=torch.rand(1, *(16,) * dims))  # of another size
        nets = LevelPredictors(net, (1, 2), seed=0)
        with frozen(net), torch.no_grad():
            units, styles = nets(net, style)
        assert [tuple(unit.weights.shape) for unit in units] == [(3, 6), (3, 8)]
        with torch.no_grad():
            for i, sample in enumerate(style):
                feature = net.encode(sample.image[None])[2]
                mean, deviation = statistics(feature)
                torch.testing.assert_close(styles[1][0][i], mean[0])
                torch.testing.assert_close(styles[1][1][i], deviation[0])


def test_the_seed_decides_the_initial_weights() -> None:
    net = network()
    first, second, other = (LevelPredictors(net, (2,), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
