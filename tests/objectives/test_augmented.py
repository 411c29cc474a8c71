from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from unshift.augmentations import geometric, photometric
from unshift.config import MemberRef, parse, to_yaml
from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.losses.overlap import segmentation_terms
from unshift.objectives.augmented import AugmentedRisk, Config
from unshift.sample import Batch, Task


class Convolution(Network):
    """The least network: one convolution."""

    def __init__(self, task: Task, channels: int) -> None:
        super().__init__(None, task, channels)
        self.head = nn.Conv2d(channels, task.num_classes, 3, padding=1)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, self.in_channels),)

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.head(features[0])


def build(config: Config | None = None, channels: int = 3) -> AugmentedRisk:
    task = Task(channels, ("background", "lesion"))
    return AugmentedRisk(config or Config(), task, Convolution(task, channels))


def example(channels: int = 3, seed: int = 11) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(6, channels, 24, 20, generator=generator),
        domains=("a",) * 6,
        cases=tuple("123456"),
        seed=seed,
        label_maps=torch.randint(0, 2, (6, 24, 20), generator=generator),
    )


def test_the_view_is_geometric_then_photometric_from_the_batchs_generator() -> None:
    batch, generator = example(), example().generator()
    first, second = geometric.Geometric(geometric.Config()), photometric.Photometric(photometric.Config())
    moved = first.draw(generator, batch.images)
    images, label_maps = first.apply(batch.images, moved), first.apply_label_maps(batch.label_maps, moved)
    images = second.apply(images, second.draw(generator, images))
    found = build().view(batch)
    assert torch.equal(found[0], images) and torch.equal(found[1], label_maps)
    assert not torch.equal(label_maps, batch.label_maps)


def test_the_loss_is_that_of_the_view() -> None:
    objective, batch = build(), example()
    images, label_maps = objective.view(batch)
    expected = segmentation_terms(objective.network(images), label_maps)
    terms = objective(batch, phase="train")
    assert all(torch.equal(terms[name], expected[name]) for name in expected)


def test_another_seed_gives_another_view() -> None:
    objective = build()
    assert not torch.equal(objective.view(example(seed=1))[0], objective.view(example(seed=2))[0])


def test_the_view_keeps_float32_under_autocast() -> None:
    objective, batch = build(), example()
    plain = objective.view(batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective.view(batch)[0], plain)


def test_neighbouring_slices_share_one_draw() -> None:
    """Three equal slices as channels stay equal but for noise: no colour shift between them."""
    config = Config(augmentations=(MemberRef(name="geometric"), MemberRef(name="photometric", noise_probability=0.0)))
    task = Task(1, ("background", "organ"), spatial_dims=3)
    objective = AugmentedRisk(config, task, Convolution(task, 3))
    batch = example()
    batch = dataclasses.replace(batch, images=batch.images[:, :1].repeat(1, 3, 1, 1))
    images, _ = objective.view(batch)
    assert images.shape == batch.images.shape and not torch.equal(images, batch.images)
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_stacked_colour_slices_keep_their_order() -> None:
    config = Config(augmentations=(MemberRef(name="geometric", flip_probability=0.0, shear_probability=0.0,
                                             affine_probability=0.0, elastic_probability=0.0),))  # fmt: skip
    task = Task(3, ("background", "organ"), spatial_dims=3)
    objective = AugmentedRisk(config, task, Convolution(task, 9))
    batch = example(channels=9)
    assert torch.equal(objective.view(batch)[0], batch.images)


def test_settings_of_augmentations_come_from_the_recipe() -> None:
    still = {"flip_probability": 0.0, "shear_probability": 0.0, "affine_probability": 0.0, "elastic_probability": 0.0}
    config = parse(Config, {"augmentations": [{"name": "geometric", **still}]}, where="recipe")
    batch = example()
    images, label_maps = build(config).view(batch)
    assert torch.equal(images, batch.images) and torch.equal(label_maps, batch.label_maps)
    assert "flip_probability: 0.0" in to_yaml(config)


def test_unknown_augmentation_and_setting() -> None:
    with pytest.raises(UnknownName, match="objective augmented: unknown augmentation 'geometrik'.*'geometric'"):
        build(Config(augmentations=(MemberRef(name="geometrik"),)))
    with pytest.raises(ConfigError, match="objective augmented: geometric.*\n.*sheer: unknown key"):
        build(Config(augmentations=(MemberRef(name="geometric", sheer=3.0),)))


def test_the_source_of_the_augmentations_decides_what_is_stored() -> None:
    assert {path.stem for path in AugmentedRisk.files(Config())} == {"views", "geometric", "photometric"}


def test_views_that_mix_images_know_the_batchs_domains() -> None:
    config = parse(Config, {"augmentations": ["amplitude_mix"]}, where="recipe")
    batch = dataclasses.replace(example(), domains=("a", "a", "a", "a", "a", "b"))
    images, _ = build(config).view(batch)
    mixer = build(config).augmentations[0]
    parameters = mixer.draw(batch.generator(), batch.images, batch.domains)  # type: ignore[call-arg]
    assert parameters["partner"].tolist()[:5] == [5] * 5
    assert torch.equal(images, mixer.apply(batch.images, parameters))
