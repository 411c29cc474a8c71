"""The fast way against the plain one, and when it is taken."""

from __future__ import annotations

import pytest
import torch

from unshift.normalizations.color_fast import PIECE, can_be_fast, decode_lab_, encode_lab, moments_of
from unshift.normalizations.color_spaces import lab_to_rgb, rgb_to_lab

LEVEL = 1 / 255


def colors() -> torch.Tensor:
    """Every eighth level of each channel, and all greys: 36,193 pixels."""
    levels = torch.tensor([*range(0, 256, 8), 255]) / 255
    cube = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(3, -1)
    return torch.cat([cube, torch.linspace(0, 1, 256).expand(3, -1)], dim=1)[None, :, None]


def test_lab_of_all_colors() -> None:
    difference = (encode_lab(colors())[0] - rgb_to_lab(colors().double())).abs().amax((0, 2, 3))
    assert difference[0] < 0.004 and difference[1:].max() < 0.02


def test_there_and_back_is_within_a_tenth_of_a_grey_level() -> None:
    one, zero = torch.ones(1, 3), torch.zeros(1, 3)
    assert (decode_lab_(encode_lab(colors())[0], one, zero) - colors()).abs().max() < LEVEL / 10


@pytest.mark.parametrize(
    ("gain", "offset"),
    [((0.8, 0.9, 1.1), (10, 3, -4)), ((1.2, 0.5, 0.7), (-15, 10, 5)), ((2, 1, 1), (-50, 0, 0))],
)
def test_moved_colors_are_within_a_tenth_of_a_grey_level(gain: tuple[float, ...], offset: tuple[float, ...]) -> None:
    factor, shift = (torch.tensor([v], dtype=torch.float32) for v in (gain, offset))
    exact = rgb_to_lab(colors().double()) * factor.view(1, 3, 1, 1) + shift.view(1, 3, 1, 1)
    found = decode_lab_(encode_lab(colors())[0], factor, shift)
    assert (found - lab_to_rgb(exact).clamp(0, 1)).abs().max() < LEVEL / 10
    assert found.min() >= 0 and found.max() <= 1


def test_pieces_and_batches_make_no_difference() -> None:
    size = PIECE // 256 + 3
    images = torch.rand(2, 3, size, 256, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    lab, found = encode_lab(images)
    torch.testing.assert_close(lab[1:, :, -5:], encode_lab(images[1:, :, -5:].contiguous())[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found, moments_of(lab, None), atol=1e-4, rtol=0)
    gain, offset = torch.tensor([[1, 1, 1], [0.5, 1, 2]]), torch.tensor([[0, 0, 0], [20.0, 1, 2]])
    both = decode_lab_(lab.clone(), gain, offset)
    torch.testing.assert_close(both[1:], decode_lab_(lab[1:].clone(), gain[1:], offset[1:]), atol=1e-5, rtol=0)
    assert torch.equal(images, before)


def test_other_layouts_are_read_as_they_are() -> None:
    image = torch.rand(20, 30, 3, generator=torch.Generator().manual_seed(0))
    turned = image.permute(2, 0, 1)[None]
    torch.testing.assert_close(encode_lab(turned), encode_lab(turned.contiguous()))


@pytest.mark.parametrize("masked", [False, True])
def test_moments_are_those_of_float64(masked: bool) -> None:
    size = PIECE // 256 + 3
    values = torch.rand(2, 3, size, 256, generator=torch.Generator().manual_seed(0)) * 0.1 + 50
    inside = torch.rand(2, size, 256, generator=torch.Generator().manual_seed(1)) > 0.4 if masked else None
    for index, found in enumerate(moments_of(values, inside)):
        kept = values[index].flatten(1) if inside is None else values[index][:, inside[index]]
        expected = torch.cat([kept.double().mean(1), kept.double().std(1, correction=0)])
        torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


def test_when_it_is_taken() -> None:
    plain, wanted = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4, requires_grad=True)
    assert can_be_fast(plain, None) and not can_be_fast(plain.double()) and not can_be_fast(plain, wanted)
    assert not can_be_fast(torch.empty(1, 3, 4, 4, device="meta"))
    with torch.no_grad():
        assert can_be_fast(wanted)
