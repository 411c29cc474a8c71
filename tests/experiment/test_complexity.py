"""The table's figures by hand: values that units replace, numbers that they store, what the paper printed."""

from __future__ import annotations

import math

import pytest
import torch

from unshift.experiment.complexity import (
    PAPER,
    PASSES,
    PASSES_OF_A_FULL_RUN,
    UNITS,
    Carrier,
    Cost,
    Row,
    measure,
    network_operations,
    paper_network,
)
from unshift.networks.unet import UNet

CPU = torch.device("cpu")
SIZE = 32


@pytest.fixture(scope="module")
def network() -> UNet:
    return paper_network()


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.method: row for row in measure(SIZE, device=CPU, repeats=1)}


SHALLOWER = ((512, 8), (256, 4), (128, 2))
"""Channels and stride of the skips that ``multi`` restyles beside 1024 channels at stride 16."""


def values(levels: str, size: int) -> int:
    places = ((1024, 16), *(SHALLOWER if levels == "multi" else ()))
    return sum(channels * (size // stride) ** 2 for channels, stride in places)


def test_the_network_is_the_papers(network: UNet) -> None:
    assert sum(p.numel() for p in network.parameters()) == 34_527_041
    assert round(network_operations(network, 400) / 1e9, 2) == 159.95
    assert not network.training


@pytest.mark.parametrize("method", UNITS)
def test_units(rows: dict[str, Row], method: str) -> None:
    row, levels = rows[method], UNITS[method][1]
    assert row.transfer.operations == 3 * values(levels, SIZE)
    assert row.transfer.parameters == (2048 if levels == "single" else 3840)
    assert 0 < row.transfer.milliseconds < 1000
    assert row.whole.parameters == 34_527_041 + row.transfer.parameters


def test_the_papers_operations_per_value_are_whole_numbers() -> None:
    """What methods notes derive: 1 for AdaIN, 3 for S-DIN, 2 for M-DIN, and these skips and no others."""
    found = {method: PAPER[method][0].operations / values(UNITS[method][1], 400) for method in UNITS}
    expected = {"S-AdaINSeg": 1, "M-AdaINSeg": 1, "S-DINSeg": 3, "M-DINSeg": 2}
    for method, count in expected.items():
        assert math.isclose(found[method], count, rel_tol=0.025), method


def test_the_wholes_are_sums(rows: dict[str, Row]) -> None:
    assert list(rows) == list(PAPER)
    for row in rows.values():
        network = row.whole.operations - row.transfer.operations
        assert network == rows["S-DINSeg"].whole.operations - rows["S-DINSeg"].transfer.operations
        assert row.whole.milliseconds > row.transfer.milliseconds
        assert (row.paper_transfer, row.paper_whole) == PAPER[row.method]
        assert isinstance(row.transfer, Cost)


def test_a_carrier_tells_what_was_replaced(network: UNet) -> None:
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        features = network.encode(images)
    carrier = Carrier(network, features)
    assert carrier.taps == network.taps
    assert carrier(images) is features[-1]
    assert carrier.restyled_values() == 0
    carrier.restyled(images, lambda given: [*given[:-1], given[-1] + 1])
    assert carrier.restyled_values() == features[-1].numel()


def test_style_segor_costs_sixty_forward_and_backward_passes(rows: dict[str, Row]) -> None:
    """Of the ten convolutions of VGG-16 up to relu4_3, by hand; backward to the image is as large as forward."""
    channels = ((3, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 2), (128, 256, 4), (256, 256, 4), (256, 256, 4))
    channels += ((256, 512, 8), (512, 512, 8), (512, 512, 8))
    forward = sum(9 * before * after * (SIZE // stride) ** 2 for before, after, stride in channels)
    cost = rows["StyleSegor"].transfer
    assert cost.parameters == sum(9 * before * after + after for before, after, _ in channels) == 7_635_264
    assert 60 * 2 * forward < cost.operations < 60 * 2.5 * forward


def test_wct_ain_costs_its_convolutions_and_a_little(rows: dict[str, Row]) -> None:
    """VGG-19 to relu4_1 and back; after unpooling, five tensors of the block's width enter the decoder."""
    blocks = ((64, 2, 1), (128, 2, 2), (256, 4, 4), (512, 1, 8))
    products, before = 0, 3
    for block, (width, count, stride) in enumerate(blocks):
        for index in range(count):
            pixels = (SIZE // stride) ** 2
            widened = 5 if index == count - 1 and block < 3 else 1
            products += 9 * before * width * pixels * (1 + widened)
            before = width
    assert products < rows["WCT-AIN"].transfer.operations < 1.1 * products
    assert rows["WCT-AIN"].transfer.parameters == 10_107_523


@pytest.mark.parametrize(("full", "passes"), [(False, PASSES), (True, PASSES_OF_A_FULL_RUN)])
def test_how_long_it_takes_is_told_once_before_the_slow_rows(
    full: bool, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise InterruptedError

    told: list[float] = []
    monkeypatch.setattr("unshift.experiment.complexity.segmentation_cost", lambda *_: Cost(1.0, 1.0, 250.0))
    monkeypatch.setattr("unshift.experiment.complexity.style_segor_row", stop)
    with pytest.raises(InterruptedError):
        measure(SIZE, device=CPU, full=full, expects=told.append)
    assert told == [pytest.approx(passes * 0.25)]
