"""What every way of moving colors promises, checked on all; and which images are no reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colored_pictures import masks, pictures, slides
from unshift.errors import DataError, ShapeMismatch, UnknownName
from unshift.normalizations.color_methods import METHODS, ColorMethod, color_method, degenerate

LEVEL = 1 / 255
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
SMOOTH = pytest.mark.parametrize("method", [m for n, m in METHODS.items() if n != "lab_8bit"], ids=lambda m: m.name)


def fitting(method: ColorMethod, count: int = 2, *, seed: int = 0) -> torch.Tensor:
    return slides(count, seed=seed) if method.name == "macenko" else pictures(count, seed=seed)


def other(method: ColorMethod) -> torch.Tensor:
    if method.name == "macenko":
        return slides(2, seed=9, stains=((0.55, 0.75, 0.4), (0.2, 0.9, 0.3)), amounts=(0.7, 1.1))
    return pictures(2, seed=9, tint=(0.6, 0.7, 0.5))


def test_the_names() -> None:
    assert set(METHODS) == {"lab", "lab_8bit", "reinhard", "monge_kantorovich", "sliced", "macenko"}
    assert all(color_method(name).name == name for name in METHODS)
    with pytest.raises(UnknownName, match="Did you mean 'reinhard'"):
        color_method("reinhardt")


@EVERY
def test_statistics_have_the_size_that_is_said_whatever_the_images(method: ColorMethod) -> None:
    for images in (fitting(method), fitting(method)[:, :1], fitting(method)[:, :, :9, :7], fitting(method)[:, :, None]):
        found = method.statistics(images)
        assert found.shape == (2, method.size) and found.dtype == images.dtype and found.isfinite().all()


@SMOOTH
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), single=st.booleans(), masked=st.booleans())
def test_onto_itself_no_pixel_moves_by_a_grey_level(method: ColorMethod, seed: int, single: bool, masked: bool) -> None:
    images = fitting(method, seed=seed).to(torch.float32 if single else torch.float64)
    inside = masks(2, seed=seed, size=tuple(images.shape[2:])) if masked else None
    moved = method.transfer(images, method.statistics(images, inside), inside)
    assert (moved - images).abs().max() < LEVEL / 20


@SMOOTH
def test_levels_of_8_and_16_bits_survive_onto_themselves(method: ColorMethod) -> None:
    for levels in (255, 65535):
        images = (fitting(method) * levels).round() / levels
        moved = method.transfer(images, method.statistics(images))
        assert torch.equal((moved * levels).round(), (images * levels).round())


@SMOOTH
def test_nothing_is_rounded_to_8_bits(method: ColorMethod) -> None:
    images = fitting(method)
    finer = images + 1e-4
    reference = method.statistics(other(method))
    moved, nearby = (method.unclipped(x, reference, None, method.statistics(images)) for x in (images, finer))
    difference = (moved - nearby).abs().flatten(1)
    assert difference.max() < 1e-2 and (difference > 1e-6).float().mean() > 0.98


@pytest.mark.parametrize("name", ["lab", "reinhard", "monge_kantorovich"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), masked=st.booleans())
def test_before_clipping_the_statistics_are_the_references(name: str, seed: int, masked: bool) -> None:
    method = color_method(name)
    images, reference = pictures(2, seed=seed), method.statistics(pictures(2, seed=seed + 1, tint=(0.5, 0.7, 0.8)))
    inside = masks(2, seed=seed) if masked else None
    found = method.statistics(method.unclipped(images, reference, inside), inside)
    tolerance = 3e-5 if name == "monge_kantorovich" else 1e-6  # the variance that rounding adds
    torch.testing.assert_close(found[:, 3:], reference[:, 3:], atol=tolerance, rtol=1e-6)


@EVERY
def test_a_batch_is_its_images_one_by_one(method: ColorMethod) -> None:
    images, references = fitting(method, 3), fitting(method, 3, seed=5)
    images[1] = images[1].mean(0, keepdim=True)  # one grey among them
    inside = masks(3, size=tuple(images.shape[2:]))
    wanted = method.statistics(references)
    together = method.transfer(images, wanted, inside)
    for index in range(3):
        one = slice(index, index + 1)
        alone = method.transfer(images[one], wanted[one], inside[one])
        torch.testing.assert_close(together[one], alone, atol=1e-6, rtol=0)
    every = method.transfer(images, wanted[:1], inside)
    torch.testing.assert_close(every[2:], method.transfer(images[2:], wanted[:1], inside[2:]), atol=1e-6, rtol=0)


@SMOOTH
def test_float32_is_float64_to_a_tenth_of_a_grey_level(method: ColorMethod) -> None:
    images, reference = fitting(method), method.statistics(other(method))
    exact = method.transfer(images, reference)
    assert (method.transfer(images.float(), reference.float()) - exact).abs().max() < LEVEL / 10
    torch.testing.assert_close(
        method.statistics(images.float()).double(), method.statistics(images), atol=5e-3, rtol=1e-3
    )


@EVERY
def test_known_statistics_make_no_difference(method: ColorMethod) -> None:
    images, reference = fitting(method), method.statistics(other(method))
    own = method.statistics(images)
    assert torch.equal(method.transfer(images, reference), method.transfer(images, reference, None, own))


@EVERY
def test_what_is_outside_neither_counts_nor_moves(method: ColorMethod) -> None:
    images, reference = fitting(method), method.statistics(other(method))
    inside = masks(2, size=tuple(images.shape[2:]))
    for value in (-999.0, 77.0, float("nan")):
        changed = torch.where(inside[:, None], images, value)
        found = method.transfer(changed, reference, inside)
        assert torch.equal(method.statistics(changed, inside), method.statistics(images, inside))
        assert torch.equal(
            found.movedim(1, -1)[inside], method.transfer(images, reference, inside).movedim(1, -1)[inside]
        )
        outside = found.movedim(1, -1)[~inside]
        assert outside.isnan().all() if value != value else (outside == value).all()


@EVERY
def test_a_full_mask_is_no_mask(method: ColorMethod) -> None:
    images, reference = fitting(method), method.statistics(other(method))
    full = torch.ones(2, *images.shape[2:], dtype=torch.bool)
    torch.testing.assert_close(method.statistics(images, full), method.statistics(images))
    torch.testing.assert_close(method.transfer(images, reference, full), method.transfer(images, reference))


@EVERY
@pytest.mark.parametrize("value", [0.0, 1e-4, 0.5, 1.0, (0.2, 0.5, 0.9)])
def test_constant_and_nearly_black_images_stay_finite(method: ColorMethod, value: float | tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    constant = torch.as_tensor(value).view(1, -1, 1, 1).expand(2, 3, *other(method).shape[2:]).float()
    noisy = (constant + torch.rand(constant.shape, generator=generator) / 1000).clamp(0, 1)
    normal = other(method).float()
    for images, references in ((constant, normal), (noisy, normal), (normal, constant), (noisy, constant)):
        moved = method.transfer(images, method.statistics(references))
        assert moved.isfinite().all() and moved.min() >= 0 and moved.max() <= 1


@EVERY
def test_grey_images_stay_grey_and_one_channel_is_three_equal_ones(method: ColorMethod) -> None:
    grey, reference = pictures(2)[:, :1], method.statistics(pictures(2, seed=3))
    one, three = (method.transfer(x, reference) for x in (grey, grey.expand(-1, 3, -1, -1)))
    assert (three.amax(1) - three.amin(1)).max() < 1e-6 and one.shape[1] == 1
    torch.testing.assert_close(three[:, :1], one, atol=1e-6, rtol=0)
    unclipped = method.unclipped(grey, reference)
    torch.testing.assert_close(method.statistics(unclipped)[:, 1:3], reference[:, 1:3], atol=1e-6, rtol=0)


@EVERY
def test_a_grey_reference_moves_lightness_only(method: ColorMethod) -> None:
    images, grey = pictures(2), pictures(2, seed=4)[:, :1]
    lab = color_method("lab")
    wanted = method.statistics(grey)
    found = lab.statistics(method.unclipped(images, wanted))
    torch.testing.assert_close(found[:, 1:3], wanted[:, 1:3], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, [4, 5, 7, 8]], lab.statistics(images)[:, [4, 5, 7, 8]], atol=1e-5, rtol=0)


@EVERY
def test_volumes_of_one_channel(method: ColorMethod) -> None:
    volume = pictures(1)[:, 0].view(1, 1, 4, 6, 32)
    reference = method.statistics(pictures(1, seed=2)[:, :1])
    moved = method.transfer(volume, reference)
    torch.testing.assert_close(moved.flatten(), method.transfer(volume.view(1, 1, 24, 32), reference).flatten())


@SMOOTH
def test_gradients_by_finite_differences(method: ColorMethod) -> None:
    size = (7, 6)
    if method.name == "macenko":  # with noise, since pixels of one pure stain tie for a percentile
        noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.1
        images, reference = slides(1, size=size) * 0.8 + noise, method.statistics(slides(1, seed=3, size=size))
    else:
        images = pictures(1, size=size)
        reference = method.statistics(pictures(1, seed=3, size=size))
    images = images.requires_grad_()
    settings = {"atol": 1e-4, "rtol": 1e-3, "fast_mode": True}
    assert torch.autograd.gradcheck(lambda x: method.unclipped(x, reference), images, **settings)
    assert torch.autograd.gradcheck(
        lambda r: method.unclipped(images.detach(), r), reference.requires_grad_(), **settings
    )


@SMOOTH
def test_gradients_of_float32_images_are_finite_even_when_constant(method: ColorMethod) -> None:
    reference = method.statistics(other(method).float())
    for images in (fitting(method).float(), torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8)):
        images.requires_grad_()
        [gradient] = torch.autograd.grad(method.transfer(images, reference[:1]).sum(), images)
        assert gradient.isfinite().all()


@EVERY
def test_what_is_no_image_is_refused(method: ColorMethod) -> None:
    images = pictures(2)
    reference = method.statistics(images)
    with pytest.raises(ShapeMismatch, match="1 channel"):
        method.statistics(images[:, :2])
    with pytest.raises(ShapeMismatch, match="1 channel"):
        method.statistics(images[0])
    with pytest.raises(ShapeMismatch, match=r"bool \[batch, \*space\]"):
        method.statistics(images, torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(ShapeMismatch, match="bool"):
        method.statistics(images, torch.ones(2, 24, 32))
    with pytest.raises(DataError, match=r"image\(s\) \[1\] of the batch is empty"):
        method.transfer(images, reference, torch.tensor([True, False]).view(2, 1, 1).expand(2, 24, 32))
    with pytest.raises(ShapeMismatch, match=rf"\[2, {method.size}\] or \[1, {method.size}\] is required"):
        method.transfer(images, reference[:, :-1])
    with pytest.raises(ShapeMismatch, match="statistics are"):
        method.transfer(images, reference.repeat(2, 1))


def test_which_images_are_degenerate() -> None:
    good = pictures(1, seed=1)[0]
    noise = torch.rand(good.shape, generator=torch.Generator().manual_seed(0)).double()
    lamp = torch.where(torch.rand(good.shape[1:], generator=torch.Generator().manual_seed(1)) < 0.6, 1.0, good)
    images = torch.stack([good, torch.full_like(good, 0.3), noise * 0.05, lamp, torch.zeros_like(good)])
    found = degenerate(images)
    assert found.constant.tolist() == [False, True, False, False, True]
    assert found.black.tolist() == [False, False, True, False, True]
    assert found.overexposed.tolist() == [False, False, False, True, False]
    assert found.any().tolist() == [False, True, True, True, True]
    assert [found.words(i) for i in range(5)] == [
        "",
        "constant",
        "nearly black",
        "over-exposed",
        "constant and nearly black",
    ]


def test_degenerate_inside_only() -> None:
    image = pictures(1)
    inside = torch.zeros(1, 24, 32, dtype=torch.bool)
    inside[:, 5:7, 5:8] = True
    black = torch.where(inside[:, None], image, 0)
    assert degenerate(black).black.tolist() == [True] and not degenerate(black, inside).any()
    flat = torch.where(inside[:, None], 0.5, image)
    assert degenerate(flat, inside).constant.tolist() == [True] and not degenerate(flat).any()
