"""To pictures and back, and which samples are kept."""

from __future__ import annotations

import pytest
import torch

from unshift.normalizations.pictures import from_pictures, groups_of, resize, spread, to_pictures
from unshift.sample import Sample


def sample(image: torch.Tensor, name: str = "c") -> Sample:
    return Sample(image, case=name, patient="p", domain="d", field_of_view=image[0] > 0.1)


@pytest.mark.parametrize(
    ("shape", "groups", "slices"),
    [((1, 4, 5), 1, 1), ((3, 4, 5), 1, 1), ((2, 4, 5), 2, 1), ((1, 6, 4, 5), 1, 6), ((3, 6, 4, 5), 1, 6)],
)
def test_there_and_back(shape: tuple[int, ...], groups: int, slices: int) -> None:
    one = sample(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    pictures, masks = to_pictures(one)
    assert pictures.shape == (groups, slices, 3, 4, 5) and masks.shape == (slices, 4, 5)
    torch.testing.assert_close(from_pictures(pictures, one.image), one.image)
    last = one.image[:, -1] if len(shape) == 4 else one.image
    for group, expected in zip(pictures, groups_of(last), strict=True):
        assert torch.equal(group[-1], expected.expand(3, 4, 5))
    assert one.field_of_view is not None
    assert torch.equal(masks[-1], one.field_of_view.reshape(-1, 4, 5)[-1])


def test_gray_pictures_are_averaged() -> None:
    picture = torch.tensor([0.0, 0.3, 0.9]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(from_pictures(picture, torch.zeros(1, 1, 1)), torch.full((1, 1, 1), 0.4))
    assert from_pictures(picture, torch.zeros(3, 1, 1)).flatten().tolist() == picture.flatten().tolist()


def test_a_mask_that_vanishes_becomes_the_whole() -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:8] = True
    picture, small = resize(torch.ones(3, 16, 16), mask, (4, 6))
    assert picture.shape == (3, 4, 6) and small[:2].all() and not small[2:].any()
    mask[:] = False
    mask[3, 3] = True
    assert resize(torch.ones(3, 16, 16), mask, (4, 4))[1].all()


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [(0, 3, []), (2, 3, [0, 1]), (10, 1, [0]), (7, 3, [0, 4]), (9, 3, [0, 4, 8]), (5, 5, range(5))],
)
def test_samples_are_spread_evenly_from_the_first(n: int, count: int, expected: list[int]) -> None:
    kept = spread((sample(torch.ones(1, 2, 2), str(i)) for i in range(n)), count)
    assert [int(one.case) for one in kept] == list(expected)
