"""What every augmentation promises, for each one that exists."""

from __future__ import annotations

import pytest
import torch

from unshift.augmentations.partners import MixingAugmentation
from unshift.contracts import Augmentation
from unshift.discover import load, names, summary

MEMBERS = names("augmentations")
SHAPES = [(4, 3, 32, 24), (3, 1, 20, 20), (2, 2, 3, 16, 18), (2, 1, 1, 1)]


def build(name: str) -> Augmentation:
    member = load("augmentations", name)
    return member(member.Config())


def example(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(*shape, generator=generator)
    return images, torch.randint(0, 4, (shape[0], *shape[2:]), generator=generator)


def test_there_are_members() -> None:
    assert {"geometric", "photometric"} <= set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_it_says_in_one_sentence_what_it_is(name: str) -> None:
    assert summary("augmentations", name).endswith(".")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MEMBERS)
def test_shapes_types_and_labels(name: str, shape: tuple[int, ...]) -> None:
    member, (images, label_maps) = build(name), example(shape)
    parameters = member.draw(torch.Generator().manual_seed(1), images)
    moved, labels = member.apply(images, parameters), member.apply_label_maps(label_maps, parameters)
    assert moved.shape == images.shape and moved.dtype == torch.float32 and torch.isfinite(moved).all()
    assert labels.shape == label_maps.shape and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0} | set(label_maps.unique().tolist())


@pytest.mark.parametrize("name", MEMBERS)
def test_parameters_replay_and_inputs_stay(name: str) -> None:
    member, (images, label_maps) = build(name), example(SHAPES[0])
    before = images.clone(), label_maps.clone()
    parameters = member.draw(torch.Generator().manual_seed(2), images)
    assert all(isinstance(v, torch.Tensor) and v.device.type == "cpu" for v in parameters.values())
    assert all(len(v) == len(images) for v in parameters.values()), "every image gets its own draw"
    kept = {key: value.clone() for key, value in parameters.items()}
    torch.manual_seed(0)
    first = member.apply(images, parameters), member.apply_label_maps(label_maps, parameters)
    torch.manual_seed(1)
    second = member.apply(images, parameters), member.apply_label_maps(label_maps, parameters)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert torch.equal(images, before[0]) and torch.equal(label_maps, before[1])
    assert all(torch.equal(parameters[key], value) for key, value in kept.items())


@pytest.mark.parametrize("name", MEMBERS)
def test_only_the_generator_decides(name: str) -> None:
    member, (images, _) = build(name), example(SHAPES[0])
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again = (member.draw(torch.Generator().manual_seed(3), images) for _ in range(2))
    blank = member.draw(torch.Generator().manual_seed(3), torch.zeros_like(images))
    other = member.draw(torch.Generator().manual_seed(4), images)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], again[key]) and torch.equal(first[key], blank[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", MEMBERS)
def test_images_mix_with_their_partner_or_not_at_all(name: str) -> None:
    """An image alone (beside its partner, if it has one), with its own parameters, gives what it gave in the batch."""
    member, (images, label_maps) = build(name), example(SHAPES[0])
    parameters = member.draw(torch.Generator().manual_seed(5), images)
    assert isinstance(member, MixingAugmentation) == ("partner" in parameters)
    whole, labels = member.apply(images, parameters), member.apply_label_maps(label_maps, parameters)
    for index in range(len(images)):
        rows = [index]
        own = {key: value[rows] for key, value in parameters.items()}
        if "partner" in own:
            rows = [index, int(own["partner"])]
            own = {key: value[rows] for key, value in parameters.items()} | {"partner": torch.tensor([1, 0])}
        torch.testing.assert_close(member.apply(images[rows], own)[0], whole[index])
        assert torch.equal(member.apply_label_maps(label_maps[rows], own)[0], labels[index])


@pytest.mark.parametrize("name", MEMBERS)
def test_partners_come_from_another_domain_or_are_at_least_another_image(name: str) -> None:
    member, (images, _) = build(name), example((6, 3, 16, 16))
    if isinstance(member, MixingAugmentation):
        domains = ("a", "b", "b", "b", "c", "a")
        for seed in range(30):
            partners = member.draw(torch.Generator().manual_seed(seed), images, domains)["partner"].tolist()
            assert all(domains[partner] != own for partner, own in zip(partners, domains, strict=True))
            unknown = member.draw(torch.Generator().manual_seed(seed), images)["partner"].tolist()
            assert all(partner != row and 0 <= partner < 6 for row, partner in enumerate(unknown))


@pytest.mark.parametrize("name", MEMBERS)
def test_defaults_change_images(name: str) -> None:
    member, (images, _) = build(name), example((8, 3, 32, 32))
    assert not torch.equal(member.apply(images, member.draw(torch.Generator().manual_seed(6), images)), images)
