from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from unshift.augmentations import geometric, photometric
from unshift.config import MemberRef
from unshift.errors import ConfigError, UnknownName
from unshift.losses.overlap import segmentation_terms
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import teacher, views
from unshift.objectives.views import AugmentingObjective, augmented, build_augmentations, build_still, source_files
from unshift.sample import Batch, Task

LISTS = (MemberRef(name="geometric"), MemberRef(name="photometric"))


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(4, channels, 20, 24, generator=generator(0))
    return images, torch.randint(0, 3, (4, 20, 24), generator=generator(1))


def test_each_augmentation_draws_once_in_order() -> None:
    images, label_maps = example()
    found = augmented(images, label_maps, build_augmentations(LISTS, where="test"), generator=generator(), channels=3)
    first, second = geometric.Geometric(geometric.Config()), photometric.Photometric(photometric.Config())
    source = generator()
    moved = first.draw(source, images)
    expected = first.apply(images, moved)
    expected = second.apply(expected, second.draw(source, expected))
    assert torch.equal(found[0], expected) and torch.equal(found[1], first.apply_label_maps(label_maps, moved))


def test_no_augmentation_changes_nothing() -> None:
    images, label_maps = example()
    found = augmented(images, label_maps, [], generator=generator(), channels=3)
    assert found[0] is images and found[1] is label_maps


def test_neighboring_slices_share_one_draw_and_keep_their_order() -> None:
    """Three equal slices stay equal, up to noise; nine channels of three slices come back in place."""
    quiet = (MemberRef(name="geometric"), MemberRef(name="photometric", noise_probability=0.0))
    images, label_maps = example(1)
    stacked = images.repeat(1, 3, 1, 1)
    found, _ = augmented(
        stacked, label_maps, build_augmentations(quiet, where="test"), generator=generator(), channels=1
    )
    assert found.shape == stacked.shape and not torch.equal(found, stacked)
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 0], found[:, 2])
    many, label_maps = example(9)
    still = build_augmentations([MemberRef(name="appearance", strength=0.0)], where="test")
    assert torch.equal(augmented(many, label_maps, still, generator=generator(), channels=3)[0], many)


def test_augmentations_that_mix_images_hear_of_their_domains() -> None:
    images, label_maps = example()
    members = build_augmentations([MemberRef(name="amplitude_mix")], where="test")
    domains = ("a", "a", "a", "b")
    found, _ = augmented(images, label_maps, members, generator=generator(), channels=3, domains=domains)
    parameters = members[0].draw(generator(), images, domains)  # type: ignore[call-arg]
    assert parameters["partner"].tolist()[:3] == [3, 3, 3]
    assert torch.equal(found, members[0].apply(images, parameters))
    unknown, _ = augmented(images, label_maps, members, generator=generator(), channels=3)
    assert not torch.equal(found, unknown)


def test_views_keep_float32_under_autocast_and_carry_no_gradient() -> None:
    images, label_maps = example()
    members = build_augmentations(LISTS, where="test")
    plain, _ = augmented(images, label_maps, members, generator=generator(), channels=3)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = augmented(images.requires_grad_(), label_maps, members, generator=generator(), channels=3)
    assert torch.equal(plain, inside) and inside.dtype == torch.float32 and not inside.requires_grad


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(UnknownName, match="here: unknown augmentation 'geometrik'.*'geometric'"):
        build_augmentations([MemberRef(name="geometrik")], where="here")
    with pytest.raises(ConfigError, match="here: geometric.*\n.*sheer: unknown key"):
        build_augmentations([MemberRef(name="geometric", sheer=3.0)], where="here")
    with pytest.raises(ConfigError, match="here: 'geometric' moves label maps"):
        build_still([MemberRef(name="geometric")], where="here")


def test_what_changes_intensities_alone_may_stand_in_the_second_list() -> None:
    members = build_still([MemberRef(name="photometric"), MemberRef(name="appearance")], where="here")
    assert [type(member).__name__ for member in members] == ["Photometric", "Appearance"]


class Doubled(AugmentingObjective):
    """Twice the loss of one view."""

    ingredients = (teacher,)

    def losses(self, phase: str, batch: Batch, unlabeled: object = None) -> dict[str, torch.Tensor]:
        images, label_maps = self.augmented(batch, batch.generator())
        return {name: 2 * value for name, value in self.supervised(self.network(images), label_maps).items()}


def test_an_objective_that_lists_augmentations_has_its_view_its_loss_and_its_files() -> None:
    images, label_maps = example()
    batch = Batch(images, ("a", "b", "a", "b"), tuple("1234"), 5, label_maps=label_maps)
    settings = SimpleNamespace(augmentations=LISTS, include_background=False)
    task = Task(3, ("background", "rim", "cup"))
    objective = Doubled(settings, task, UNet(UNetConfig(widths=(4, 8)), task)).eval()
    members = build_augmentations(LISTS, where="test")
    seen, moved = augmented(images, label_maps, members, generator=batch.generator(), channels=3)
    expected = segmentation_terms(objective.network(seen), moved, include_background=False)
    found = objective(batch, phase="train")
    assert found.keys() == expected.keys() and all(torch.equal(found[n], 2 * expected[n]) for n in found)
    assert {path.stem for path in Doubled.files(settings)} == {"views", "geometric", "photometric", "teacher"}
    with pytest.raises(UnknownName, match="objective test_views: unknown augmentation 'geometrik'"):
        Doubled(SimpleNamespace(augmentations=(MemberRef(name="geometrik"),)), task, objective.network)


def test_source_files_are_those_of_the_views() -> None:
    assert source_files(LISTS) == tuple(Path(str(m.__file__)) for m in (views, geometric, photometric))
