"""Operations counted by hand, layer by layer, and against published totals."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from unshift.experiment.operations import count_operations, milliseconds, numbers
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task

WIDTHS = (64, 128, 256, 512, 1024)


def count(module: nn.Module, *shape: int) -> int:
    module.eval().to("meta")
    with torch.no_grad():
        return count_operations(lambda: module(torch.empty(shape, device="meta")))


def unet_by_hand(size: int) -> tuple[int, int]:
    """Multiply-accumulates of all convolutions of the layer list; and everything else by the rule."""
    pixels = [(size // 2**level) ** 2 for level in range(5)]
    products, values = 0, 0  # of 3 x 3 convolutions, each followed by norm and ReLU
    for level, width in enumerate(WIDTHS):  # down: two convolutions
        before = 3 if level == 0 else WIDTHS[level - 1]
        products += 9 * (before * width + width * width) * pixels[level]
        values += 2 * width * pixels[level]
    for level in (3, 2, 1, 0):  # up: one after upsampling, two on the concatenation
        width = WIDTHS[level]
        products += 9 * (2 * width * width + 2 * width * width + width * width) * pixels[level]
        values += 3 * width * pixels[level]
    products += 64 * pixels[0]
    pooled = sum(width * n for width, n in zip(WIDTHS[:4], pixels[:4], strict=True))
    standardized = 2 * 3 * pixels[0]
    return products, (1 + 2 + 1) * values + pixels[0] + pooled + standardized


@pytest.mark.parametrize("size", [400, 64])
def test_the_unet_of_34_million_parameters(size: int) -> None:
    products, others = unet_by_hand(size)
    assert count(UNet(UNetConfig(outputs=1), Task(3, ("b", "f"))), 1, 3, size, size) == products + others
    if size == 400:
        assert round(products / 1e9, 2) == 159.54
        assert round((products + others) / 1e9, 2) == 159.95  # as published


def test_vgg16_is_what_the_paper_counts_for_style_segor() -> None:
    layers: list[nn.Module] = []
    before = 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    for inputs, outputs in itertools.pairwise((512 * 49, 4096, 4096, 1000)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    vgg = nn.Sequential(*layers)
    assert round(numbers(*vgg.parameters()) / 1e6, 2) == 138.36
    assert round(count(vgg, 1, 3, 400, 400) / 1e9, 2) == 49.17


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(2, 3, 3, padding=1, bias=False), 9 * 2 * 3 * 16),
        (nn.Conv2d(2, 2, 1, groups=2), 2 * 16 + 2 * 16),
        (nn.BatchNorm2d(2), 2 * 2 * 16),
        (nn.ReLU(), 2 * 16),
        (nn.LeakyReLU(), 2 * 16),
        (nn.MaxPool2d(2), 2 * 16),
        (nn.Upsample(scale_factor=2), 0),
        (nn.Identity(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_rule(module: nn.Module, expected: int) -> None:
    assert count(module, 1, 2, 4, 4) == expected


def test_functions_count_as_modules_do_and_backward_counts_too() -> None:
    x, weight = torch.rand(1, 2, 4, 4), torch.rand(3, 2, 3, 3, requires_grad=True)
    forward = count_operations(lambda: torch.relu(nn.functional.conv2d(x, weight, padding=1)))
    assert forward == 9 * 2 * 3 * 16 + 3 * 16
    both = count_operations(lambda: nn.functional.conv2d(x, weight, padding=1).sum().backward())
    assert both >= 2 * 9 * 2 * 3 * 16  # the weight's gradient is as large a product as the convolution itself


def test_a_median_of_times() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(len(calls))
        torch.rand(200, 200) @ torch.rand(200, 200)

    assert 0 < milliseconds(work, repeats=3) < 1000
    assert len(calls) == 4  # one to warm up
