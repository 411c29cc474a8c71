from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss
from pydantic import ValidationError
from scipy.special import softmax
from torch import Tensor, nn

from unshift.augmentations import geometric, photometric
from unshift.config import MemberRef, parse, to_yaml
from unshift.contracts import Network, Tap
from unshift.errors import ConfigError
from unshift.losses.overlap import segmentation_terms
from unshift.objectives import augmented
from unshift.objectives.cqg import ColorQuality, Config, disagreement
from unshift.sample import Batch, Task

STILL = MemberRef(
    name="photometric",
    **{f"{step}_probability": 0.0 for step in ("blur", "sharpen", "noise", "brightness_contrast", "color_shift")},
)
TERMS = ["geometric_cross_entropy", "geometric_dice", "photometric_cross_entropy", "photometric_dice", "agreement"]


class Normalized(Network):
    """A convolution, batch norm, a convolution; counts its calls."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__(None, task, channels)
        self.body = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, task.num_classes, 1)
        self.calls = 0

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, 6),)

    def features(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        return [self.body(images)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.head(features[0])


def build(channels: int = 3, *, task: Task | None = None, **settings: Any) -> ColorQuality:
    torch.manual_seed(0)
    task = task or Task(channels, ("background", "tonsil", "uvula"))
    return ColorQuality(Config(**settings), task, Normalized(task, channels))


@torch.no_grad()
def losses(objective: ColorQuality, batch: Batch) -> dict[str, Tensor]:
    return objective(batch, phase="train")


def example(channels: int = 3, seed: int = 11) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(5, channels, 24, 20, generator=generator),
        domains=("a",) * 5,
        cases=tuple("12345"),
        seed=seed,
        label_maps=torch.randint(0, 3, (5, 24, 20), generator=generator),
    )


def test_one_geometric_draw_for_both_views_and_the_label_map_then_a_photometric_one() -> None:
    batch, generator = example(), example().generator()
    first, second = geometric.Geometric(geometric.Config()), photometric.Photometric(photometric.Config())
    moved = first.draw(generator, batch.images)
    deformed = first.apply(batch.images, moved)
    recolored = second.apply(deformed, second.draw(generator, deformed))
    found = build().views(batch)
    assert torch.equal(found[0], deformed) and torch.equal(found[1], recolored)
    assert torch.equal(found[2], first.apply_label_maps(batch.label_maps, moved))
    assert not torch.equal(deformed, batch.images) and not torch.equal(recolored, deformed)


def test_the_second_view_is_that_of_augmented() -> None:
    task, batch = Task(3, ("background", "tonsil", "uvula")), example()
    other = augmented.AugmentedRisk(augmented.Config(), task, Normalized(task, 3))
    _, second, label_maps = build().views(batch)
    assert torch.equal(second, other.view(batch)[0]) and torch.equal(label_maps, other.view(batch)[1])


@pytest.mark.parametrize("agreement", ["probabilities", "logits"])
@pytest.mark.parametrize("passes", ["one", "two"])
def test_the_loss_by_numpy_and_monai(agreement: str, passes: str) -> None:
    objective, batch = build(agreement=agreement, passes=passes).eval(), example()
    terms = losses(objective, batch)
    assert list(terms) == TERMS
    first, second, label_maps = objective.views(batch)
    dice = DiceLoss(to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6)
    with torch.no_grad():
        y1, y2 = objective.network(first), objective.network(second)
        expected = 0.3 * (nn.functional.cross_entropy(y1, label_maps) + dice(y1, label_maps[:, None]))
        expected += 0.7 * (nn.functional.cross_entropy(y2, label_maps) + dice(y2, label_maps[:, None]))
    a, b = y1.double().numpy(), y2.double().numpy()
    difference = softmax(a, axis=1) - softmax(b, axis=1) if agreement == "probabilities" else a - b
    assert float(np.mean(difference**2)) > 0
    assert float(terms["agreement"]) == pytest.approx(float(np.mean(difference**2)), rel=1e-4)
    assert float(sum(terms.values())) == pytest.approx(float(expected) + float(np.mean(difference**2)), rel=1e-5)


@pytest.mark.parametrize("passes", ["one", "two"])
@pytest.mark.parametrize("agreement", ["probabilities", "logits"])
def test_without_a_photometric_change_the_loss_is_the_supervised_one(agreement: str, passes: str) -> None:
    objective = build(photometric=(STILL,), agreement=agreement, passes=passes).eval()
    batch = example()
    first, second, label_maps = objective.views(batch)
    assert torch.equal(first, second) and not torch.equal(first, batch.images)
    terms = losses(objective, batch)
    with torch.no_grad():
        supervised = sum(segmentation_terms(objective.network(first), label_maps).values())
    assert float(terms["agreement"]) == 0.0
    torch.testing.assert_close(sum(terms.values()), (0.3 + 0.7) * supervised, rtol=1e-6, atol=0)


@settings(max_examples=8, deadline=None)
@given(weights=st.tuples(*[st.floats(0, 3)] * 3).filter(lambda w: w[0] + w[1] > 0))
def test_weights_scale_their_terms(weights: tuple[float, float, float]) -> None:
    names = ("geometric_weight", "photometric_weight", "agreement_weight")
    plain = losses(build(**dict.fromkeys(names, 1.0)).eval(), example())
    found = losses(build(**dict(zip(names, weights, strict=True))).eval(), example())
    for term, value in found.items():
        weight = weights[[term.startswith(k) for k in ("geometric", "photometric", "agreement")].index(True)]
        assert float(value) == pytest.approx(weight * float(plain[term]), rel=1e-5, abs=1e-12)


def test_one_pass_shares_batch_statistics_and_two_do_not() -> None:
    batch = example()
    one, two = build(passes="one").train(), build(passes="two").train()
    first, second, _ = one.views(batch)
    losses(one, batch)
    losses(two, batch)
    assert (one.network.calls, two.network.calls) == (1, 2)
    means = []
    for views in (torch.cat([first, second]), first, second):
        with torch.no_grad():
            means.append(build().network.body[0](views).mean((0, 2, 3)))
    torch.testing.assert_close(one.network.body[1].running_mean, 0.1 * means[0])
    torch.testing.assert_close(two.network.body[1].running_mean, 0.09 * means[1] + 0.1 * means[2])


def test_both_views_send_gradients_through_the_agreement() -> None:
    for side in (0, 1):
        logits = [torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)]
        logits[side].requires_grad_()
        disagreement(*logits, of="probabilities").backward()
        assert float(logits[side].grad.abs().sum()) > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_agreement_is_computed_in_float32(dtype: torch.dtype) -> None:
    """Squares of these logits leave half precision; differences of these probabilities vanish in it."""
    large, small = torch.full((1, 2, 3, 3), 300.0, dtype=dtype), torch.zeros(1, 2, 3, 3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = disagreement(large, small, of="logits")
    assert found.dtype == torch.float32 and float(found) == float(large[0, 0, 0, 0]) ** 2
    near = torch.zeros(1, 2, 3, 3, dtype=dtype)
    near[:, 0] = 2**-10
    expected = (1 / (1 + np.exp(-(2.0**-10))) - 0.5) ** 2
    assert float(disagreement(near, torch.zeros_like(near), of="probabilities")) == pytest.approx(expected, rel=1e-3)


def test_under_autocast_views_and_losses_are_float32() -> None:
    objective, batch = build().eval(), example()
    with torch.autocast("cpu", torch.bfloat16):
        terms = losses(objective, batch)
        assert torch.equal(objective.views(batch)[1], build().views(batch)[1])
    exact = losses(objective, batch)
    assert all(value.dtype == torch.float32 for value in terms.values())
    assert all(float(terms[name]) == pytest.approx(float(exact[name]), rel=0.1, abs=1e-4) for name in TERMS)


def test_the_greatest_disagreement_of_probabilities() -> None:
    first, second = torch.full((1, 4, 2, 2), -1e4), torch.full((1, 4, 2, 2), -1e4)
    first[:, 0], second[:, 3] = 1e4, 1e4
    assert float(disagreement(first, second, of="probabilities")) == pytest.approx(2 / 4)


def test_neighboring_slices_share_one_draw() -> None:
    quiet = {"photometric": (MemberRef(name="photometric", noise_probability=0.0),)}
    task = Task(1, ("background", "organ", "tumor"), spatial_dims=3)
    objective, batch = build(3, task=task, **quiet), example()
    batch = dataclasses.replace(batch, images=batch.images[:, :1].repeat(1, 3, 1, 1))
    first, second, _ = objective.views(batch)
    assert not torch.equal(first, second)
    for view in (first, second):
        assert view.shape == batch.images.shape
        assert torch.equal(view[:, 0], view[:, 1]) and torch.equal(view[:, 0], view[:, 2])


def test_settings_come_from_the_recipe() -> None:
    settings = {"agreement": "logits", "passes": "two", "photometric": [{"name": "appearance", "strength": 0.5}]}
    config = parse(Config, settings, where="recipe")
    assert "strength: 0.5" in to_yaml(config) and "agreement: logits" in to_yaml(config)
    task = Task(3, ("background", "lesion"))
    assert [type(m).__name__ for m in ColorQuality(config, task, Normalized(task, 3)).photometric] == ["Appearance"]


def test_background_can_be_left_out_of_dice() -> None:
    with_it, without = (losses(build(include_background=b).eval(), example()) for b in (True, False))
    assert float(with_it["geometric_dice"]) != pytest.approx(float(without["geometric_dice"]))
    assert torch.equal(with_it["geometric_cross_entropy"], without["geometric_cross_entropy"])


def test_settings_that_cannot_be_meant() -> None:
    with pytest.raises(ValidationError, match="without supervision any constant prediction is perfect"):
        Config(geometric_weight=0, photometric_weight=0)
    with pytest.raises(ValidationError, match="photometric"):
        Config(photometric=())
    with pytest.raises(ConfigError, match="objective cqg: photometric: 'geometric' moves label maps"):
        build(photometric=(MemberRef(name="geometric"),))


def test_the_source_of_the_augmentations_decides_what_is_stored() -> None:
    named = {path.stem for path in ColorQuality.files(Config())}
    assert named == {"views", "geometric", "photometric"}
    assert Path(photometric.__file__) in ColorQuality.files(Config())
