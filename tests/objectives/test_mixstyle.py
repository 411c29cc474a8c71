from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from unshift.augmentations.partners import draw_partners
from unshift.config import MemberRef
from unshift.errors import ConfigError, ProtocolError
from unshift.losses.overlap import segmentation_terms
from unshift.networks.ram_unet import RamUNet, RamUNetConfig
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import augmented, erm
from unshift.objectives.mixstyle import Config, MixStyle, beta, mix_style
from unshift.sample import Batch, Task

TASK = Task(1, ("background", "liver", "spleen"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(kind: Any = MixStyle, settings: Any = None) -> Any:
    torch.manual_seed(0)
    return kind(settings or Config(), TASK, UNet(UNetConfig(widths=(4, 8, 8)), TASK)).train()


def example(seed: int = 7) -> Batch:
    return Batch(
        images=torch.rand(4, 1, 24, 20, generator=generator()),
        domains=("a", "b", "a", "b"),
        cases=tuple("1234"),
        seed=seed,
        label_maps=torch.randint(0, 3, (4, 24, 20), generator=generator(1)),
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_switched_off_it_is_erm_and_with_a_list_augmented() -> None:
    batch = example()
    mine = build(settings=Config(probability=0.0))
    assert equal(mine(batch, phase="train"), build(erm.MEMBER, erm.Config())(batch, phase="train"))
    views = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    mine = build(settings=Config(probability=0.0, augmentations=views))
    other = build(augmented.MEMBER, augmented.Config(augmentations=views))
    assert equal(mine(batch, phase="train"), other(batch, phase="train"))


def test_statistics_are_mixed_as_in_the_paper() -> None:
    x = 3 * torch.randn(3, 2, 6, 5, generator=generator()) + 1
    partner, share = torch.tensor([2, 0, 1]), torch.tensor([0.25, 1.0, 0.0])
    found = mix_style(x, partner, share).double().numpy()
    a = x.double().numpy()
    mean, deviation = a.mean((2, 3), keepdims=True), a.std((2, 3), keepdims=True)
    own = share.double().numpy()[:, None, None, None]
    expected = (own * deviation + (1 - own) * deviation[partner]) * (a - mean) / deviation
    expected += own * mean + (1 - own) * mean[partner]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found[1], a[1], atol=1e-5)
    np.testing.assert_allclose(found[2].std((1, 2)), a[1].std((1, 2)), rtol=1e-4)


def test_no_gradient_goes_through_the_statistics() -> None:
    x = torch.randn(2, 1, 4, 4, generator=generator()).requires_grad_()
    share = torch.tensor([0.3, 0.3])
    (gradient,) = torch.autograd.grad(mix_style(x, torch.tensor([1, 0]), share)[0].sum(), x)
    mean_free = x.detach().std((2, 3), correction=0)
    factor = (0.3 * mean_free[0] + 0.7 * mean_free[1]) / mean_free[0]
    torch.testing.assert_close(gradient[0], factor.expand(1, 4, 4), rtol=1e-4, atol=1e-5)
    assert not gradient[1].any()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 2.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    drawn = beta(generator(), 8000, alpha).double().numpy()
    for place in (1e-5, 0.01, 0.2, 0.5, 0.7, 0.99, 0.9999):
        assert np.mean(drawn <= place) == pytest.approx(stats.beta(alpha, alpha).cdf(place), abs=0.02)
    assert drawn.min() >= 0 and drawn.max() <= 1


@pytest.mark.parametrize("settings", [{}, {"alpha": 5.0}], ids=["the paper's 0.1", "5"])
def test_shares_are_drawn_with_the_alpha_that_was_set(settings: dict[str, float]) -> None:
    objective = build(settings=Config(probability=1.0, **settings))
    shares = torch.cat([share for _, share in objective.draw(generator(), 400, ()).values()]).double().numpy()
    alpha = settings.get("alpha", 0.1)
    assert shares.var() == pytest.approx(stats.beta(alpha, alpha).var(), rel=0.15)


def test_both_taps_are_mixed_and_the_loss_is_that_of_the_logits() -> None:
    batch = example()
    objective, other = build(settings=Config(probability=1.0)), build(settings=Config(probability=1.0))
    terms = objective(batch, phase="train")
    source = batch.generator()
    (p1, s1), (p2, s2) = other.draw(source, 4, batch.domains).values()
    net = other.network
    first = mix_style(net.down[0](batch.images), p1, s1)
    second = mix_style(net.down[1](net.pool(first)), p2, s2)
    logits = net.decode([first, second, net.down[2](net.pool(second))])
    expected = segmentation_terms(logits, batch.label_maps)
    assert equal(terms, expected)


def test_half_of_the_steps_mix_a_tap() -> None:
    objective = build()
    draws = [objective.draw(generator(seed), 4, ("a",) * 4) for seed in range(400)]
    for tap in (0, 1):
        assert np.mean([tap in draw for draw in draws]) == pytest.approx(0.5, abs=0.08)


def test_partners_are_those_that_were_asked_for() -> None:
    batch = example()
    objective = build(settings=Config(probability=1.0, partner="other_domain"))
    for seed in range(20):
        for partner, _ in objective.draw(generator(seed), 4, batch.domains).values():
            assert all(batch.domains[int(p)] != own for p, own in zip(partner, batch.domains, strict=True))
    alone = dataclasses.replace(batch, domains=("a",) * 4)
    with pytest.raises(ProtocolError, match="holds only 'a'"):
        objective(alone, phase="train")
    build(settings=Config(probability=1.0))(alone, phase="train")
    with pytest.raises(ProtocolError, match="one image"):
        draw_partners(generator(), 1)


def test_taps_by_name_and_networks_without() -> None:
    network = RamUNet(RamUNetConfig(width=4), TASK)
    assert len(MixStyle(Config(taps=("level_1", "level_2", "level_3")), TASK, network).places) == 3
    with pytest.raises(ConfigError, match="taps \\['bottom'\\] are wanted; it has \\['level_1'"):
        MixStyle(Config(taps=("bottom",)), TASK, network)


def test_under_autocast_losses_are_near() -> None:
    batch = example()
    exact = build(settings=Config(probability=1.0))(batch, phase="train")
    with torch.autocast("cpu", torch.bfloat16):
        mixed = build(settings=Config(probability=1.0))(batch, phase="train")
    assert all(float(mixed[n].detach()) == pytest.approx(float(exact[n].detach()), rel=0.1) for n in exact)


def test_sources_are_named() -> None:
    assert {path.stem for path in MixStyle.files(Config())} == {"views", "partners", "rewriting"}
