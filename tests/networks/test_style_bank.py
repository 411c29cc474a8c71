from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.errors import DataError, ShapeMismatch, UnknownName
from unshift.networks import style_bank
from unshift.networks.style_bank import StyleBank, central, fit_bank, translate, translate_volume
from unshift.networks.translator import Translator, TranslatorConfig


@pytest.fixture(scope="module")
def translator() -> Translator:
    torch.manual_seed(0)
    return Translator(TranslatorConfig(width=4, blocks=1, style_depth=2), 1).eval()


def volume(slices: int, seed: int = 0, level: float = 1.0) -> Tensor:
    return level * torch.rand(slices, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_the_central_two_thirds() -> None:
    assert [range(n)[central(n)] for n in (1, 3, 6, 24)] == [range(1), range(3), range(1, 5), range(4, 20)]


def test_codes_are_those_of_the_middle_slices(translator: Translator) -> None:
    first, second = volume(12), volume(7, 1)
    bank = fit_bank(translator, iter([first, second]), clusters=3)
    with torch.no_grad():
        expected = translator.style["target"](2 * torch.cat([first[2:10], second[1:6]]) - 1)
    torch.testing.assert_close(bank.codes, expected)
    assert bank.count == 3 and set(bank.clusters.tolist()) == {0, 1, 2}
    again = fit_bank(translator, [first, second], clusters=3)
    assert torch.equal(again.clusters, bank.clusters)


def test_clusters_that_lie_apart_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = 10 * torch.randn(6, 8, generator=generator)
    truth = torch.arange(6).repeat_interleave(torch.tensor([1, 2, 3, 4, 5, 9]))
    found = style_bank._clustered(centers[truth] + 0.1 * torch.randn(24, 8, generator=generator), 6, seed=1)
    same = truth[:, None] == truth
    assert torch.equal(found[:, None] == found, same)


def test_the_best_of_several_beginnings_is_taken() -> None:
    """Begun with two points above each other, k-means stays at (upper, lower); (left, right) is closer."""
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.2, 0.0], [1.2, 1.0]])
    for seed in range(10):
        left, other_left, right, other_right = style_bank._clustered(corners, 2, seed).tolist()
        assert left == other_left != right == other_right, seed


def test_a_style_is_a_member_of_its_cluster(translator: Translator) -> None:
    bank = StyleBank(torch.arange(10.0)[:, None].expand(10, 8), torch.tensor([0, 1] * 5))
    generator = torch.Generator().manual_seed(0)
    drawn = {int(bank.draw(1, generator)[0]) for _ in range(60)}
    assert drawn == {1, 3, 5, 7, 9}
    with pytest.raises(UnknownName, match="cluster '2'"):
        bank.draw(2, generator)


@pytest.mark.parametrize("count", [1, 5])
def test_a_handful_of_target_images_will_do(translator: Translator, count: int) -> None:
    bank = fit_bank(translator, [volume(1, seed) for seed in range(count)])
    assert bank.count == count
    assert fit_bank(translator, [volume(1)] * 3).count == 1
    assert bank.draw(0, torch.Generator().manual_seed(0)).shape == (8,)


def test_no_target_image_says_what_is_required(translator: Translator) -> None:
    with pytest.raises(DataError, match="0 target images; at least one"):
        fit_bank(translator, [])
    with pytest.raises(ShapeMismatch, match=r"2 channel\(s\)"):
        fit_bank(translator, [torch.rand(1, 2, 16, 16)])


def test_a_volume_has_one_style(translator: Translator) -> None:
    whole = volume(6).transpose(0, 1)
    whole[:, 5] = whole[:, 0]  # alike slices stay alike, wherever they stand
    code = fit_bank(translator, [volume(3, 1)]).codes[1]
    found = translate_volume(translator, whole, code)
    assert found.shape == whole.shape and float(found.min()) >= 0 and float(found.max()) <= 1
    torch.testing.assert_close(found[:, 5], found[:, 0], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        expected = (translator(2 * whole.transpose(0, 1) - 1, code.expand(6, -1)) + 1) / 2
    torch.testing.assert_close(found.transpose(0, 1), expected, atol=1e-5, rtol=1e-4)


def test_slices_stream(translator: Translator) -> None:
    asked: list[int] = []

    def slices() -> Iterator[Tensor]:
        for number, image in enumerate(volume(10)):
            asked.append(number)
            yield image

    stream = translate(translator, slices(), torch.zeros(8))
    next(stream)
    assert asked == [0, 1, 2, 3]
    assert len(list(stream)) == 9 and not any(image.requires_grad for image in stream)
    assert np.isfinite(next(translate(translator, volume(1), torch.ones(8))).numpy()).all()
