from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.config import MemberRef
from unshift.errors import ConfigError
from unshift.losses.overlap import segmentation_terms
from unshift.networks.dual_norm import DualNorm
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import augmented, erm
from unshift.objectives.dual_norm import Config, DualNormalization, recolored
from unshift.sample import Batch, Task

TASK = Task(1, ("background", "liver", "spleen"))


def build(kind: Any = DualNormalization, settings: Any = None) -> Any:
    torch.manual_seed(0)
    return kind(settings or Config(), TASK, UNet(UNetConfig(widths=(4, 8)), TASK)).train()


def example(seed: int = 7) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=300 * torch.rand(4, 1, 24, 20, generator=generator) - 90,
        domains=("a",) * 4,
        cases=tuple("1234"),
        seed=seed,
        label_maps=torch.randint(0, 3, (4, 24, 20), generator=generator),
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_switched_off_it_is_erm_and_with_a_list_augmented() -> None:
    off, batch = Config(styles=False, norms="one"), example()
    assert equal(build(settings=off)(batch, phase="train"), build(erm.MEMBER, erm.Config())(batch, phase="train"))
    views = (MemberRef(name="geometric"), MemberRef(name="photometric", intensities="image"))
    mine = build(settings=Config(styles=False, norms="one", augmentations=views))
    other = build(augmented.MEMBER, augmented.Config(augmentations=views))
    assert equal(mine(batch, phase="train"), other(batch, phase="train"))
    assert not isinstance(mine.network, DualNorm)


@pytest.mark.parametrize("v", [0.5, 0.75])
def test_curves_are_the_papers(v: float) -> None:
    """Bezier curves in [-1, 1], evaluated densely and interpolated by NumPy."""
    images = example().images
    which = torch.tensor([[1] * 4, [1] * 4])
    similar, dissimilar = recolored(images, which, (v,))
    t = np.linspace(0, 1, 20001)
    weights = np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    x, y = np.array([-1, -v, v, 1]) @ weights, np.array([-1, v, -v, 1]) @ weights
    for image, up, down in zip(images.double().numpy(), similar.numpy(), dissimilar.numpy(), strict=True):
        low, high = image.min(), image.max()
        bent = np.interp(2 * (image - low) / (high - low) - 1, x, y)
        np.testing.assert_allclose(up, (bent + 1) / 2 * (high - low) + low, atol=0.2)
        falling = np.where(image == low, low, (1 - bent) / 2 * (high - low) + low)
        np.testing.assert_allclose(down, falling, atol=0.2)


@pytest.mark.parametrize("settings", [{}, {"strengths": (0.25,)}], ids=["the paper's", "another"])
def test_views_are_curves_of_the_strengths(settings: dict[str, Any]) -> None:
    batch, strengths = example(), settings.get("strengths", (0.5, 0.75))
    which = torch.randint(1 + len(strengths), (2, 4), generator=batch.generator())
    similar, dissimilar, _ = build(settings=Config(**settings)).views(batch)
    expected = recolored(batch.images, which, strengths)
    assert torch.equal(similar, expected[0]) and torch.equal(dissimilar, expected[1])
    assert set(which.flatten().tolist()) == set(range(1 + len(strengths))), "the draw shows every curve"


def test_straight_curves_give_the_image_and_its_negative() -> None:
    images = example().images
    similar, dissimilar = recolored(images, torch.zeros(2, 4, dtype=torch.int64), (0.5,))
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    assert torch.equal(similar, images)
    negative = torch.where(images == low, low, low + high - images)
    torch.testing.assert_close(dissimilar, negative, atol=1e-3, rtol=1e-5)
    constant = torch.full((1, 1, 4, 4), 3.0)
    assert all(torch.equal(v, constant) for v in recolored(constant, torch.ones(2, 1, dtype=torch.int64), (0.5,)))


def test_each_view_goes_through_its_own_norms() -> None:
    objective, batch = build(), example()
    similar, dissimilar, label_maps = objective.views(batch)
    terms = objective(batch, phase="train")
    assert torch.equal(label_maps, batch.label_maps) and isinstance(objective.network, DualNorm)
    for name, view in (("similar", similar), ("dissimilar", dissimilar)):
        torch.manual_seed(0)
        alone = UNet(UNetConfig(widths=(4, 8)), TASK).train()
        for term, value in segmentation_terms(alone(view), label_maps).items():
            torch.testing.assert_close(terms[f"{name}_{term}"], value)


def test_one_set_of_norms_meets_both_views() -> None:
    objective, batch = build(settings=Config(norms="one")), example()
    similar, dissimilar, label_maps = objective.views(batch)
    torch.manual_seed(0)
    logits = UNet(UNetConfig(widths=(4, 8)), TASK).train()(torch.cat([similar, dissimilar]))
    expected = segmentation_terms(logits[4:], label_maps)["dice"]
    torch.testing.assert_close(objective(batch, phase="train")["dissimilar_dice"], expected)


def test_views_come_from_the_batchs_generator_and_every_curve_occurs() -> None:
    objective = build()
    assert all(torch.equal(a, b) for a, b in zip(objective.views(example()), objective.views(example()), strict=True))
    seen = {
        tuple((objective.views(example(seed))[0] == example().images).flatten(1).all(1).tolist()) for seed in range(9)
    }
    assert len(seen) > 3


def test_a_network_without_batch_norm_is_an_error_and_sources_are_named() -> None:
    with pytest.raises(ConfigError, match="UNet has no batch norm"):
        DualNormalization(Config(), TASK, UNet(UNetConfig(widths=(4, 8), norm="instance"), TASK))
    named = {path.parent.name + "/" + path.stem for path in DualNormalization.files(Config())}
    assert named == {"objectives/views", "augmentations/bezier", "layers/dual_batch_norm", "networks/dual_norm"}
