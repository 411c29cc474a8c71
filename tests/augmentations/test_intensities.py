from __future__ import annotations

import pytest
import torch

from unshift.augmentations.intensities import counted_as_unit, require_unit
from unshift.errors import DataError


def test_images_near_the_unit_interval_pass() -> None:
    images = torch.tensor([[-0.04, 1.04]]).view(1, 1, 1, 2)
    require_unit(images, who="it")
    low, span = counted_as_unit(images, "unit", who="it")
    assert low.flatten().tolist() == [0] and span.flatten().tolist() == [1] and low.shape == (1, 1, 1, 1)


def test_an_images_own_range_may_count_instead() -> None:
    images = torch.stack([torch.arange(4.0).view(1, 2, 2) - 1, torch.full((1, 2, 2), 7.0)])
    low, span = counted_as_unit(images, "image", who="it")
    assert low.flatten().tolist() == [-1, 7] and span.flatten().tolist() == [3, 1]


def test_others_are_refused_with_a_remedy() -> None:
    images = torch.tensor([-3.0, 250.0]).view(1, 1, 1, 2)
    with pytest.raises(DataError, match="it: intensities span -3 … 250; .* Scale them there \\(here\\)\\."):
        require_unit(images, who="it", remedy="(here)")
    with pytest.raises(DataError, match="or set intensities: image"):
        counted_as_unit(images, "unit", who="it")
