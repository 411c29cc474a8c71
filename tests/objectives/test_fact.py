from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from unshift.augmentations.drawing import uniform
from unshift.augmentations.partners import draw_partners
from unshift.config import MemberRef
from unshift.errors import DataError, ProtocolError
from unshift.losses.overlap import segmentation_terms
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import augmented, erm
from unshift.objectives.fact import Config, Fact, disagreement
from unshift.sample import Batch, Task

TASK = Task(1, ("background", "liver", "spleen"))
DOMAINS = ("a", "b", "a", "b")


def build(kind: Any = Fact, settings: Any = None, *, task: Task = TASK, channels: int = 1) -> Any:
    torch.manual_seed(0)
    return kind(settings or Config(), task, UNet(UNetConfig(widths=(4, 8)), TASK, channels)).train()


def example(seed: int = 7, domains: tuple[str, ...] = DOMAINS) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(4, 1, 24, 20, generator=generator),
        domains=domains,
        cases=tuple("1234"),
        seed=seed,
        label_maps=torch.randint(0, 3, (4, 24, 20), generator=generator),
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def step(objective: Any, optimizer: Any, batch: Batch) -> None:
    optimizer.zero_grad()
    sum(objective(batch, phase="train").values()).backward()
    optimizer.step()


def test_switched_off_it_is_erm_and_with_a_list_augmented() -> None:
    off, batch = {"amplitude": False, "weight": 0.0}, example()
    mine = build(settings=Config(**off))
    assert mine.teacher is None
    assert equal(mine(batch, phase="train"), build(erm.MEMBER, erm.Config())(batch, phase="train"))
    views = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    mine = build(settings=Config(augmentations=views, **off))
    other = build(augmented.MEMBER, augmented.Config(augmentations=views))
    assert equal(mine(batch, phase="train"), other(batch, phase="train"))


def test_the_mixed_view_is_that_of_numpy() -> None:
    for seed in range(3):
        batch = example(seed)
        generator = batch.generator()
        partner = draw_partners(generator, 4, DOMAINS, own=True)
        share = 1 - uniform(generator, (4,), 0, 1).numpy()[:, None, None, None]
        images, mixed, label_maps = build().views(batch)
        assert torch.equal(images, batch.images) and torch.equal(label_maps, batch.label_maps)
        spectra = np.fft.fft2(images.double().numpy())
        amplitude = share * np.abs(spectra) + (1 - share) * np.abs(spectra)[partner.numpy()]
        expected = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectra))).real.clip(0, 1)
        np.testing.assert_allclose(mixed.numpy(), expected, atol=1e-4)
        assert not torch.equal(mixed, images)


def test_shares_and_partners_are_drawn_as_in_the_paper() -> None:
    batch = example(domains=("a", "b", "c", "d"))
    level = torch.tensor([0.1, 0.3, 0.5, 0.9]).view(4, 1, 1, 1)
    batch = dataclasses.replace(batch, images=level.expand(4, 1, 24, 20).clone())
    objective, kept = build(), []
    for seed in range(150):
        mixed = objective.views(dataclasses.replace(batch, seed=seed))[1]
        kept.append(float(mixed[0].mean()))
    # (1 - l) 0.1 + l z, l uniform, z of any of the four
    assert np.mean(kept) == pytest.approx(0.5 * 0.1 + 0.5 * 0.45, abs=0.03)
    assert np.mean(np.isclose(kept, 0.1, atol=1e-4)) == pytest.approx(0.25, abs=0.1)


def test_partners_of_another_domain() -> None:
    levels = torch.tensor([0.2, 0.8, 0.2, 0.8]).view(4, 1, 1, 1).expand(4, 1, 24, 20).clone()
    objective = build(settings=Config(partner="other_domain"))
    for seed in range(20):
        mixed = objective.views(dataclasses.replace(example(seed), images=levels))[1]
        assert float((mixed - levels).abs().amin()) > 1e-4, "nobody's partner is of his own domain, which has his level"


def test_defaults_are_the_papers() -> None:
    settings = Config()
    assert (settings.momentum, settings.weight, settings.temperature) == (0.9995, 2.0, 10.0)
    assert (settings.partner, settings.amplitude, settings.warmup) == ("any_domain", True, 200)


def test_the_loss_by_hand() -> None:
    objective, batch = build(settings=Config(warmup=0)).eval(), example()
    with torch.no_grad():
        for parameter in objective.teacher.parameters():
            parameter.mul_(3)
    images, mixed, label_maps = objective.views(batch)
    with torch.no_grad():
        terms = objective(batch, phase="train")
        f, fm = objective.network(images), objective.network(mixed)
        g, gm = objective.teacher(images), objective.teacher(mixed)
    expected = {n: 0.5 * v for n, v in segmentation_terms(f, label_maps).items()}
    expected |= {f"mixed_{n}": 0.5 * v for n, v in segmentation_terms(fm, label_maps).items()}
    p, q, pm, qm = (softmax(x.double().numpy() / 10, axis=1) for x in (g, fm, gm, f))
    expected["agreement"] = torch.tensor(2 * (entropy(p, q, axis=1).mean() + entropy(pm, qm, axis=1).mean()))
    assert list(terms) == list(expected) and float(expected["agreement"]) > 0
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-3), name


def agreement(objective: Any, batch: Batch) -> Tensor:
    """Both divergences, without the weight."""
    images, mixed, _ = objective.views(batch)
    f, fm, g, gm = (net(view) for net in (objective.network, objective.teacher) for view in (images, mixed))
    return (disagreement(g, fm, temperature=10.0) + disagreement(gm, f, temperature=10.0)).detach()


def test_the_weight_rises_as_a_sigmoid() -> None:
    objective = build(settings=Config(warmup=10))
    for updates, done in ((0, 0.0), (5, 0.5), (10, 1.0), (50, 1.0)):
        assert objective.ramp(updates) == pytest.approx(2 * math.exp(-5 * (1 - done) ** 2))
    assert build(settings=Config(warmup=0)).ramp(0) == 2
    objective.teacher.updates.fill_(10)
    found = objective.eval()(example(), phase="train")["agreement"].detach()
    assert float(found) == pytest.approx(2 * float(agreement(objective, example())), rel=1e-4)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_teacher_follows_once_a_step(kind: Any) -> None:
    objective, batch = build(settings=Config(momentum=0.6)), example()
    optimizer = kind(objective.parameter_groups()["train"][0]["params"], lr=0.05)
    teacher = [p.clone() for p in objective.network.parameters()]
    for number in range(5):
        student = [p.detach().clone() for p in objective.network.parameters()]
        momentum = min(1 - 1 / (number + 1), 0.6)
        teacher = [momentum * t + (1 - momentum) * s for t, s in zip(teacher, student, strict=True)]
        for _ in range(3):  # accumulated batches of one step
            objective(batch, phase="train")
        for mine, expected in zip(objective.teacher.parameters(), teacher, strict=True):
            torch.testing.assert_close(mine, expected)
        assert int(objective.teacher.updates) == number + 1
        step(objective, optimizer, batch)
    assert not any(p.requires_grad for p in objective.teacher.parameters())


def test_a_training_that_is_resumed_goes_on_as_if_nothing_had_been() -> None:
    one, batch = build(), example()
    optimizer = torch.optim.SGD(one.parameter_groups()["train"][0]["params"], lr=0.05)
    for seed in range(3):
        step(one, optimizer, example(seed))
    other = build()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert equal(one(batch, phase="train"), other(batch, phase="train"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_divergence_of_saturated_logits_in_half_precision() -> None:
    large = torch.zeros(1, 2, 3, 3, dtype=torch.float16)
    large[:, 0], opposite = 6e4, torch.zeros_like(large)
    opposite[:, 1] = 6e4
    with torch.autocast("cpu", torch.bfloat16):
        found = disagreement(large, opposite, temperature=10.0)
    assert found.dtype == torch.float32 and float(found) == pytest.approx(float(large.max()) / 10, rel=1e-3)


def test_neighboring_slices_are_mixed_alike() -> None:
    task = Task(1, TASK.classes, spatial_dims=3)
    objective, batch = build(task=task, channels=3), example()
    batch = dataclasses.replace(batch, images=batch.images.repeat(1, 3, 1, 1))
    mixed = objective.views(batch)[1]
    assert mixed.shape == batch.images.shape and not torch.equal(mixed, batch.images)
    torch.testing.assert_close(mixed[:, 0], mixed[:, 2])


def test_what_is_wrong_is_named() -> None:
    batch = example()
    with pytest.raises(DataError, match="Objective fact: intensities span"):
        build()(dataclasses.replace(batch, images=200 * batch.images), phase="train")
    with pytest.raises(ProtocolError, match="holds only 'a'"):
        build(settings=Config(partner="other_domain"))(example(domains=("a",) * 4), phase="train")
    build()(example(domains=("a",) * 4), phase="train")
    assert {path.stem for path in Fact.files(Config())} == {"views", "spectrum", "partners", "teacher"}
