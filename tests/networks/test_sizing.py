from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unshift.contracts import Tap
from unshift.errors import ShapeMismatch
from unshift.networks.sizing import check_input, least_factor, measure, nearest_size, times
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task


def small(norm: str = "batch") -> UNet:
    config = UNetConfig.model_validate({"widths": (2, 4, 8), "norm": norm})
    return UNet(config, Task(1, ("background", "organ")))


@pytest.mark.parametrize(
    ("side", "good"), [(1, 32), (31, 32), (47, 32), (48, 64), (250, 256), (400, 416), (399, 384), (416, 416)]
)
def test_nearest_size_by_hand(side: int, good: int) -> None:
    assert nearest_size((side,), 32) == (good,)


@given(st.integers(1, 5000), st.integers(1, 64), st.integers(1, 4))
def test_nearest_size_is_good_and_nearest(side: int, divisor: int, least: int) -> None:
    (good,) = nearest_size((side,), divisor, least=least)
    candidates = range(least * divisor, side + (least + 2) * divisor, divisor)
    assert good in candidates
    assert abs(good - side) == min(abs(candidate - side) for candidate in candidates)


def test_good_images_pass() -> None:
    check_input(small(), torch.zeros(1, 1, 4, 12))
    check_input(small("instance"), torch.zeros(1, 1, 8, 12))


def test_least_factor_sees_instance_norms_and_the_networks_own_word() -> None:
    assert least_factor(small()) == 1
    assert least_factor(small("instance")) == 2
    network = small()
    network.least_factor = 8  # type: ignore[assignment]
    assert least_factor(network) == 8


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 10, 12), r"10×12; each side must be a multiple of 4 .* size is 12×12"),
        ((1, 2, 8, 8), r"2 channel\(s\); the network was built for 1"),
        ((1, 1, 8, 8, 8), r"5 axes; a network of 2 spatial dimensions needs \[batch, channel, height, width\]"),
        ((1, 8, 8), "3 axes"),
    ],
)
def test_bad_images_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeMismatch, match=message):
        check_input(small(), torch.zeros(shape))


def test_measure_looks_at_shapes_and_leaves_the_mode() -> None:
    body = nn.Conv2d(1, 5, 3, stride=2, padding=1)
    taps = measure(body, lambda x: [x, body(x)], channels=1, side=8, dims=2)
    assert taps == (Tap("level_1", 1, 1), Tap("level_2", 2, 5))
    assert body.training


def test_times() -> None:
    assert times((3, 4, 5)) == "3×4×5"
