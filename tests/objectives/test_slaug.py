from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor, nn

from unshift.augmentations import location_scale
from unshift.config import MemberRef
from unshift.contracts import Network, Tap
from unshift.errors import DataError
from unshift.losses.overlap import segmentation_terms
from unshift.objectives import augmented, erm
from unshift.objectives.slaug import Config, LocationScale, saliency
from unshift.sample import Batch, Task

CLASSES = ("background", "liver", "spleen")


class Normalized(Network):
    """A convolution, batch norm, ReLU, a convolution."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__(None, task, channels)
        self.body = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, task.num_classes, 1)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, 6),)

    def features(self, images: Tensor) -> list[Tensor]:
        return [self.body(images)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.head(features[0])


def build(kind: Any = LocationScale, settings: Any = None, *, channels: int = 1, task: Task | None = None) -> Any:
    torch.manual_seed(0)
    task = task or Task(channels, CLASSES)
    return kind(settings or Config(), task, Normalized(task, channels)).train()


def example(channels: int = 1, seed: int = 7) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(4, channels, 24, 20, generator=generator),
        domains=("a",) * 4,
        cases=tuple("1234"),
        seed=seed,
        label_maps=torch.randint(0, 3, (4, 24, 20), generator=generator),
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_switched_off_it_is_erm_and_with_a_list_augmented() -> None:
    off, batch = {"recoloring": False, "fusion": False}, example()
    assert equal(
        build(settings=Config(**off))(batch, phase="train"), build(erm.MEMBER, erm.Config())(batch, phase="train")
    )
    views = (MemberRef(name="geometric"), MemberRef(name="photometric"))
    mine = build(settings=Config(augmentations=views, **off))
    other = build(augmented.MEMBER, augmented.Config(augmentations=views))
    assert equal(mine(batch, phase="train"), other(batch, phase="train"))


def test_views_are_those_of_location_scale_from_the_batchs_generator() -> None:
    batch, generator = example(), example().generator()
    for_whole = location_scale.draw_global(generator, 4)
    for_classes = location_scale.draw_local(generator, 4, 3)
    whole, local, label_maps = build().views(batch)
    assert torch.equal(whole, location_scale.global_view(batch.images, for_whole))
    assert torch.equal(local, location_scale.local_view(batch.images, batch.label_maps, for_classes, classes=3))
    assert torch.equal(label_maps, batch.label_maps) and not torch.equal(whole, local)


def test_without_fusion_the_loss_is_that_of_the_global_view() -> None:
    objective, batch = build(settings=Config(fusion=False)).eval(), example()
    whole, _, label_maps = objective.views(batch)
    assert equal(objective(batch, phase="train"), segmentation_terms(objective.network(whole), label_maps))


@pytest.mark.parametrize("grid", [3, 6])
def test_the_loss_is_that_of_the_global_view_and_of_the_fusion(grid: int) -> None:
    objective, batch = build(settings=Config(grid=grid)).eval(), example()
    whole, local, label_maps = objective.views(batch)
    terms = objective(batch, phase="train")
    seen = whole.clone().requires_grad_()
    first = segmentation_terms(objective.network(seen), label_maps)
    sum(first.values()).backward()
    share = saliency(seen.grad, grid)
    second = segmentation_terms(objective.network(share * whole + (1 - share) * local), label_maps)
    expected = first | {f"fused_{name}": value for name, value in second.items()}
    assert list(terms) == list(expected)
    assert all(float(terms[name].detach()) == pytest.approx(float(expected[name].detach()), rel=1e-5) for name in terms)


def test_gradients_are_those_of_two_backward_passes() -> None:
    one, two, batch = build().eval(), build().eval(), example()
    sum(one(batch, phase="train").values()).backward()
    terms = two(batch, phase="train")
    sum(value for name, value in terms.items() if not name.startswith("fused")).backward(retain_graph=True)
    sum(value for name, value in terms.items() if name.startswith("fused")).backward()
    for mine, theirs in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize(("grid", "space"), [(3, (30, 24)), (5, (17, 23)), (3, (2, 9))])
def test_saliency_is_a_quadratic_spline_of_cell_means(grid: int, space: tuple[int, int]) -> None:
    gradients = torch.randn(2, 3, *space, generator=torch.Generator().manual_seed(0))
    found = saliency(gradients, grid)[:, 0].double().numpy()
    for index, gradient in enumerate(gradients.double().numpy()):
        magnitude = np.sqrt((gradient**2).mean(0))
        weights = []
        for size in space:
            cells = min(grid, size)
            places = (np.arange(size) + 0.5) * cells / size
            basis = [BSpline.basis_element(np.arange(4) + k - 1, extrapolate=False)(places) for k in range(cells)]
            columns = np.nan_to_num(np.stack(basis, 1))
            weights.append(columns / columns.sum(1, keepdims=True))
        means = np.zeros((weights[0].shape[1], weights[1].shape[1]))
        for r, c in np.ndindex(means.shape):
            top, bottom = r * space[0] // means.shape[0], -(-(r + 1) * space[0] // means.shape[0])
            left, right = c * space[1] // means.shape[1], -(-(c + 1) * space[1] // means.shape[1])
            means[r, c] = magnitude[top:bottom, left:right].mean()
        smooth = weights[0] @ means @ weights[1].T
        np.testing.assert_allclose(found[index], (smooth - smooth.min()) / np.ptp(smooth), atol=1e-5)


def test_saliency_of_nothing_is_zero_and_of_volumes_has_their_shape() -> None:
    assert not saliency(torch.zeros(1, 1, 8, 8), 3).any()
    found = saliency(torch.randn(2, 2, 4, 8, 9, generator=torch.Generator().manual_seed(0)), 3)
    assert found.shape == (2, 1, 4, 8, 9) and float(found.amin()) == 0 and float(found.amax()) == 1


def test_neighboring_slices_are_recolored_alike() -> None:
    task = Task(1, CLASSES, spatial_dims=3)
    objective, batch = build(channels=3, task=task), example()
    batch = dataclasses.replace(batch, images=batch.images.repeat(1, 3, 1, 1))
    for view in objective.views(batch)[:2]:
        assert view.shape == batch.images.shape and not torch.equal(view, batch.images)
        assert torch.equal(view[:, 0], view[:, 2])


def test_it_works_without_gradients_and_under_autocast() -> None:
    objective, batch = build().eval(), example()
    exact = objective(batch, phase="train")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = objective(batch, phase="train")
    assert all(float(mixed[n].detach()) == pytest.approx(float(exact[n].detach()), rel=0.1) for n in exact)


def test_intensities_and_sources() -> None:
    batch = example()
    batch = dataclasses.replace(batch, images=batch.images * 300)
    with pytest.raises(DataError, match="slaug: intensities span .* images in \\[0, 1\\] are required"):
        build()(batch, phase="train")
    named = {path.stem for path in LocationScale.files(Config(augmentations=(MemberRef(name="geometric"),)))}
    assert named == {"views", "location_scale", "bezier", "geometric"}
