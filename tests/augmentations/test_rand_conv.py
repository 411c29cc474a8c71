from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from unshift.augmentations.rand_conv import Config, RandomConvolution


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(**settings: Any) -> RandomConvolution:
    return RandomConvolution(Config(**settings))


@pytest.mark.parametrize("side", [1, 3, 7])
@pytest.mark.parametrize("mixing", [False, True])
def test_it_is_the_filter_that_scipy_computes(side: int, mixing: bool) -> None:
    member = build(probability=1.0, sides=(side,), mixing=mixing)
    images = torch.rand(3, 2, 11, 13, generator=generator())
    p = member.draw(generator(1), images)
    found = member.apply(images, p)
    for x, kernel, share, result in zip(images, p["kernel"], p["share"], found, strict=True):
        centered = 2 * x.double().numpy() - 1
        for out in range(2):
            one = sum(
                ndimage.correlate(centered[i], kernel[out, i].double().numpy(), mode="constant") for i in range(2)
            )
            expected = (float(share) * centered[out] + (1 - float(share)) * one + 1) / 2
            np.testing.assert_allclose(result[out].numpy(), expected, atol=1e-5)
    assert bool((p["share"] > 0).all()) == mixing


def test_the_slices_of_a_volume_share_the_filter() -> None:
    member, volumes = build(probability=1.0), torch.rand(2, 1, 4, 12, 12, generator=generator())
    p = member.draw(generator(1), volumes)
    found = member.apply(volumes, p)
    for index in range(4):
        torch.testing.assert_close(found[:, :, index], member.apply(volumes[:, :, index], p))


def test_filters_have_the_paper_variance_and_every_side() -> None:
    images = torch.zeros(4000, 3, 1, 1)
    p = build(probability=1.0).draw(generator(2), images)
    extent = (p["kernel"] != 0).any(1).any(1).any(1).sum(-1)
    assert sorted(extent.unique().tolist()) == [1, 3, 5, 7]
    for side in (1, 3, 5, 7):
        chosen = p["kernel"][extent == side]
        assert len(chosen) / 4000 == pytest.approx(0.25, abs=0.03)
        variance = float(chosen.square().sum((2, 3, 4)).mean())  # of an output, for white noise of variance 1
        assert variance == pytest.approx(1, abs=0.05)


def test_off_gives_every_image_back() -> None:
    images = torch.rand(4, 3, 8, 8, generator=generator())
    member = build(probability=0.0)
    assert torch.equal(member.apply(images, member.draw(generator(3), images)), images)


def test_half_of_the_images_stay() -> None:
    images = torch.rand(600, 1, 4, 4, generator=generator())
    member = build()
    found = member.apply(images, member.draw(generator(4), images))
    same = (found == images).flatten(1).all(1).float().mean()
    assert float(same) == pytest.approx(0.5, abs=0.07)


def test_sides_are_odd() -> None:
    with pytest.raises(ValidationError, match="odd numbers from 1 are required"):
        Config(sides=(3, 4))
