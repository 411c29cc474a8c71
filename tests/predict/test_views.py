from __future__ import annotations

import pytest
import torch

from unshift.contracts import Normalization
from unshift.errors import ConfigError, ShapeMismatch
from unshift.predict.views import mirrored, views_of
from unshift.sample import Sample

SAMPLE = Sample(torch.full((1, 4, 4), 2.0), case="c", patient="p", domain="d")


class Add(Normalization):
    """One view for each number in its configuration."""

    def views(self, sample: Sample) -> list[Sample]:
        return [sample.replace(image=sample.image + number) for number in self.config]


class Double(Normalization):
    def views(self, sample: Sample) -> list[Sample]:
        return [sample.replace(image=2 * sample.image)]


class Crop(Normalization):
    def views(self, sample: Sample) -> list[Sample]:
        return [sample.replace(image=sample.image[:, 1:])]


def values(views: list[Sample]) -> list[float]:
    return [float(view.image.mean()) for view in views]


def test_each_view_goes_through_the_next_normalization() -> None:
    assert values(views_of(SAMPLE, [], [])) == [2.0]
    assert values(views_of(SAMPLE, [Double(None), Add([1.0])], [])) == [5.0]
    assert values(views_of(SAMPLE, [Add([1.0])], [Add([0.0, 10.0]), Double(None), Add([0.5, 0.25])])) == [
        6.5,
        6.25,
        26.5,
        26.25,
    ]


def test_preprocessing_gives_one_view_and_a_normalization_at_least_one() -> None:
    with pytest.raises(ConfigError, match="Add: gave 2 views of case 'c'; preprocessing must give exactly one"):
        views_of(SAMPLE, [Add([1.0, 2.0])], [])
    with pytest.raises(ConfigError, match="Add: gave 0 views"):
        views_of(SAMPLE, [], [Add([])])


def test_a_view_on_another_grid_is_an_error() -> None:
    with pytest.raises(ShapeMismatch, match=r"Crop: view of case 'c' is \[1, 3, 4\] but its image is \[1, 4, 4\]"):
        views_of(SAMPLE, [], [Crop(None)])


@pytest.mark.parametrize("space", [(4, 6), (3, 4, 5)])
def test_mirroring_averages_all_flips(space: tuple[int, ...]) -> None:
    weights = torch.rand(1, 1, *space)
    seen = []

    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images * weights

    images = torch.rand(2, 1, *space)
    found = mirrored(network, images)
    assert len(seen) == 2 ** len(space)
    expected = weights
    for axis in range(2, 2 + len(space)):
        expected = (expected + expected.flip(axis)) / 2
    torch.testing.assert_close(found, images * expected)


def test_a_network_that_sees_no_orientation_is_unchanged() -> None:
    images = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(mirrored(lambda x: x.softmax(1), images), images.softmax(1))
