from __future__ import annotations

import logging

import pytest
import torch

from unshift.errors import DataError
from unshift.normalizations.inside import channels_inside, compose, mask_of
from unshift.sample import Sample


def sample(image: torch.Tensor, field_of_view: torch.Tensor | None = None) -> Sample:
    return Sample(image, "a", "a", "x", field_of_view=field_of_view)


def test_compose_undoes_channels_inside() -> None:
    image = torch.rand(2, 5, 6)
    fov = torch.rand(5, 6) > 0.4
    s = sample(image, fov)
    assert torch.equal(compose(s, channels_inside(s)).image, image * fov)
    assert torch.equal(compose(sample(image), channels_inside(sample(image))).image, image)


def test_mask_is_the_whole_grid_when_unknown() -> None:
    assert mask_of(sample(torch.zeros(1, 2, 3))).all()


def test_constant_channels_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        channels_inside(sample(torch.stack([torch.full((3, 3), 7.0), torch.rand(3, 3)])))
    assert [r.message for r in caplog.records] == ["Case 'a': channel 0 is constant (7)."]


def test_empty_field_of_view_is_an_error() -> None:
    with pytest.raises(DataError, match="Case 'a': the field of view is empty"):
        mask_of(sample(torch.rand(1, 2, 2), torch.zeros(2, 2, dtype=torch.bool)))
