"""Pooling inside the field of view by hand; digests that know every weight."""

from __future__ import annotations

import pytest
import torch

from unshift.embeddings.pooling import colored, looking, pooled, resized, unit, weights_digest
from unshift.errors import ShapeMismatch


def test_cells_count_by_their_share_inside() -> None:
    feature = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    inside = torch.zeros(1, 4, 4, dtype=torch.bool)
    inside[0, :2, :2] = True  # the first cell whole
    inside[0, 2, 2:] = True  # half of the last
    assert pooled(feature, inside).tolist() == [[pytest.approx((1 * 1 + 0.5 * 4) / 1.5)]]
    assert pooled(feature, None).tolist() == [[2.5]]
    volume = feature[:, :, None].expand(-1, -1, 2, -1, -1)
    assert pooled(volume, inside[:, None].expand(-1, 4, -1, -1)).tolist() == [[pytest.approx(2.0)]]


def test_unit_vectors() -> None:
    assert unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_resizing_keeps_a_field_of_view_that_would_vanish_whole() -> None:
    inside = torch.zeros(2, 40, 40, dtype=torch.bool)
    inside[0, 7, 7] = True
    inside[1, :20] = True
    images, masks = resized(torch.rand(2, 3, 40, 40), inside, (4, 4))
    assert images.shape == (2, 3, 4, 4) and masks is not None
    assert masks[0].all() and masks[1].tolist() == [[True] * 4, [True] * 4, [False] * 4, [False] * 4]


def test_color() -> None:
    grey = torch.rand(2, 1, 4, 4)
    assert torch.equal(colored(grey, "x"), grey.repeat(1, 3, 1, 1))
    for images in (torch.rand(1, 2, 4, 4), torch.rand(1, 1, 4, 4, 4)):
        with pytest.raises(ShapeMismatch, match="pictures of 1 or 3 channels"):
            colored(images, "x")


def test_digest_and_modes() -> None:
    layer = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1), torch.nn.BatchNorm2d(2))
    before = weights_digest(layer.state_dict())
    assert weights_digest(layer.to(memory_format=torch.channels_last).state_dict()) == before
    layer[1].eval()
    with looking(layer):
        assert not layer[0].training and not torch.is_grad_enabled()
    assert layer[0].training and not layer[1].training and weights_digest(layer.state_dict()) == before
    layer[0].weight.data[0, 0] += 1e-6
    assert weights_digest(layer.state_dict()) != before
