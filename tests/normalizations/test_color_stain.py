"""Stains found again that a slide was made of, and exchanged for others."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from colored_pictures import EOSIN, HEMATOXYLIN, masks, pictures, slides
from unshift.normalizations.color_stain import LEAST_TISSUE, Macenko

OTHER = ((0.55, 0.75, 0.4), (0.25, 0.9, 0.3))


def unit(stains: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    return normalize(torch.tensor(stains, dtype=torch.float64), dim=1)


def test_stains_and_their_amounts_are_found() -> None:
    for stains in ((HEMATOXYLIN, EOSIN), OTHER):
        for order in (stains, stains[::-1]):
            found = Macenko().statistics(slides(2, stains=order, size=(80, 80)))[:, 3:]
            cosines = (found[:, :6].view(2, 2, 3) * unit(stains)).sum(2)
            assert cosines.min() > 0.995
            assert ((found[:, 8] > 0.3) & (found[:, 8] < 0.76)).all()
    amounts = Macenko().statistics(slides(1, amounts=(1.0, 0.5), size=(80, 80)))[0, 9:11]
    assert 1.1 < amounts[0] < 1.45 and 0.5 < amounts[1] < 0.8


def test_a_slide_takes_the_stains_of_another() -> None:
    method = Macenko()
    image, other = slides(1, size=(80, 80)), slides(1, seed=3, stains=OTHER, amounts=(0.8, 1.0), size=(80, 80))
    same_tissue = slides(1, stains=OTHER, amounts=(0.8, 1.0), size=(80, 80))
    moved = method.transfer(image, method.statistics(other))
    before, after = ((x - same_tissue).abs().mean() for x in (image, moved))
    assert after < 0.25 * before


def test_white_ground_stays_white_and_does_not_count() -> None:
    method, image = Macenko(), slides(1, size=(60, 60))
    reference = method.statistics(slides(1, seed=3, stains=OTHER))
    wide = torch.ones(1, 3, 60, 100, dtype=torch.float64)
    wide[..., :60] = image
    torch.testing.assert_close(method.statistics(wide)[:, 3:11], method.statistics(image)[:, 3:11])
    moved = method.transfer(wide, reference)
    assert (moved[..., 60:] > 0.999).all()
    torch.testing.assert_close(moved[..., :60], method.transfer(image, reference))


def test_what_is_off_the_plane_of_stains_is_kept() -> None:
    method = Macenko()
    image = slides(1, size=(50, 50)) * (1 - 0.2 * pictures(1, size=(50, 50)))
    moved = method.transfer(image, method.statistics(image))
    assert (moved - image).abs().max() < 1e-9


def test_too_little_tissue_or_one_stain_is_left_and_said() -> None:
    method = Macenko()
    slide = slides(1, size=(60, 60))
    reference = method.statistics(slides(1, seed=3, stains=OTHER))
    speck = torch.ones_like(slide)
    speck[..., :5, :5] = slide[..., :5, :5]
    single = slides(1, amounts=(1.0, 0.0), size=(60, 60))
    for poor in (speck, torch.ones_like(slide) * torch.tensor([1, 0.99, 0.98]).view(3, 1, 1), single):
        found = method.statistics(poor)
        assert not method.usable(found)[0] and found[0, -1] < LEAST_TISSUE
        assert (method.transfer(poor, reference) - poor).abs().max() < 1e-9
        assert (method.transfer(slide, found) - slide).abs().max() < 1e-9
    assert method.usable(method.statistics(slide))[0] and method.usable(method.statistics(slide[:, :1]))[0]


def test_only_tissue_inside_counts() -> None:
    method, image = Macenko(), slides(1, size=(60, 60))
    inside = masks(1, size=(60, 60))
    changed = torch.where(inside[:, None], image, slides(1, seed=7, stains=OTHER, size=(60, 60)))
    torch.testing.assert_close(method.statistics(changed, inside), method.statistics(image, inside))
