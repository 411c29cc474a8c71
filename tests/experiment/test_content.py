from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unshift.errors import DataError
from unshift.experiment import content
from unshift.experiment.content import content_images, content_like, content_samples, intensity_range
from unshift.sample import Sample


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Five photographs in two folders: a horizontal ramp in red, a vertical one in green, their number in blue."""
    for number in range(5):
        height, width = (30, 45) if number % 2 else (64, 40)
        y, x = np.mgrid[:height, :width] / (np.array([height, width]) - 1)[:, None, None]
        picture = np.stack([x, y, np.full_like(x, number / 5)], axis=-1)
        path = tmp_path / "photos" / ("deep/er" if number > 2 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 255).round().astype(np.uint8)).save(path)
    (tmp_path / "photos" / "readme.txt").write_text("no photograph")
    (tmp_path / "photos" / "._0.png").write_bytes(b"left by macOS")
    return tmp_path / "photos"


@given(
    channels=st.sampled_from([1, 2, 3, 4]),
    size=st.sampled_from([(16, 16), (20, 33), (40, 12), (5, 16, 18), (1, 9, 9)]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_textures_of_any_shape(channels: int, size: tuple[int, ...], seed: int) -> None:
    first, again = (content_images(None, 2, channels=channels, size=size, seed=seed) for _ in range(2))
    assert [image.shape for image in first] == [(channels, *size)] * 2
    for image, same in zip(first, again, strict=True):
        assert image.dtype == torch.float32 and float(image.min()) >= 0 and float(image.max()) <= 1
        assert torch.equal(image, same)
    assert not torch.equal(first[0], first[1])


def test_the_count_does_not_change_the_first_images(photographs: Path) -> None:
    for folder in (None, photographs):
        few, many = (content_images(folder, n, channels=3, size=(16, 16), seed=4) for n in (3, 8))
        assert all(torch.equal(a, b) for a, b in zip(few, many, strict=False))


def test_photographs_come_once_before_one_comes_twice(photographs: Path) -> None:
    images = content_images(photographs, 12, channels=3, size=(24, 24), seed=0)
    numbers = [round(5 * float(image[2].mean())) for image in images]
    assert sorted(numbers[:5]) == sorted(numbers[5:10]) == [0, 1, 2, 3, 4]
    assert not any(torch.equal(images[numbers.index(n)], images[5 + numbers[5:].index(n)]) for n in (0, 1)), (
        "cropped elsewhere"
    )
    other = content_images(photographs, 5, channels=3, size=(24, 24), seed=1)
    assert [round(5 * float(image[2].mean())) for image in other] != numbers[:5]


@pytest.mark.parametrize("size", [(24, 24), (30, 60), (70, 20)])
def test_photographs_just_cover_the_size_and_keep_their_shape(photographs: Path, size: tuple[int, int]) -> None:
    """The ramps' slopes say by what factor each axis was resized: by one factor, the least that covers."""
    for image in content_images(photographs, 5, channels=3, size=size, seed=0):
        number = round(5 * float(image[2].mean()))
        height, width = (30, 45) if number % 2 else (64, 40)
        scale = max(size[0] / height, size[1] / width)
        across = float((image[0, 4:-4, -5] - image[0, 4:-4, 4]).mean()) / (size[1] - 9)
        down = float((image[1, -5, 4:-4] - image[1, 4, 4:-4]).mean()) / (size[0] - 9)
        assert across == pytest.approx(1 / (scale * (width - 1)), rel=0.08)
        assert down == pytest.approx(1 / (scale * (height - 1)), rel=0.08)


def test_grey_and_neighbouring_slices(photographs: Path) -> None:
    for folder in (None, photographs):
        colour = content_images(folder, 2, channels=3, size=(20, 20), seed=2)
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        for n, of in ((1, None), (4, None), (3, 1)):
            grey = content_images(folder, 2, channels=n, size=(20, 20), seed=2, colors=of)
            for image, reference in zip(grey, colour, strict=True):
                torch.testing.assert_close(image, (reference * weights).sum(0, keepdim=True).expand(n, -1, -1))
        stacked = content_images(folder, 2, channels=9, size=(20, 20), seed=2, colors=3)
        assert all(torch.equal(a, b.repeat(3, 1, 1)) for a, b in zip(stacked, colour, strict=True))
    with pytest.raises(DataError, match="4 channels are no multiple of 3 colors"):
        content_images(None, 1, channels=4, size=(8, 8), seed=0, colors=3)


@pytest.mark.parametrize("seed", range(4))
def test_slices_of_a_volume_move_by_a_pixel_in_one_direction(seed: int) -> None:
    (volume,) = content_images(None, 1, channels=1, size=(12, 24, 26), seed=seed)
    shifts = []
    for before, after in zip(volume[0, :-1], volume[0, 1:], strict=True):
        fits = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if torch.equal(before[3 + y : 20 + y, 3 + x : 20 + x], after[3:20, 3:20])]  # fmt: skip
        assert len(fits) == 1, "each slice is the one before, moved"
        shifts.append(fits[0])
    total = np.array(shifts).sum(0)
    assert np.hypot(*total) == pytest.approx(11, abs=1), "one pixel a slice"
    assert all(step * end >= 0 for s in shifts for step, end in zip(s, total, strict=True)), "one direction"


def test_samples_say_what_they_are() -> None:
    samples = content_samples(None, 3, channels=1, size=(8, 8), seed=0)
    assert [s.case for s in samples] == ["content_00000", "content_00001", "content_00002"]
    assert {s.domain for s in samples} == {"content"} and all(s.label_map is None for s in samples)
    images = content_images(None, 3, channels=1, size=(8, 8), seed=0)
    assert all(torch.equal(s.image, i) for s, i in zip(samples, images, strict=True))


def style(images: list[torch.Tensor]) -> list[Sample]:
    return [Sample(image, str(i), str(i), "A") for i, image in enumerate(images)]


def test_content_takes_shape_and_intensities_of_the_style() -> None:
    generator = torch.Generator().manual_seed(0)
    scored = style([torch.randn(2, 24, 20, generator=generator) * 3 + 5 for _ in range(6)])
    low, high = np.percentile(torch.stack([s.image for s in scored]).double().numpy(), [1, 99])
    assert intensity_range(scored) == pytest.approx((low, high), abs=1e-6)
    plain = content_samples(None, 4, channels=2, size=(24, 20), seed=3)
    for sample, reference in zip(content_like(scored, None, 4, seed=3), plain, strict=True):
        torch.testing.assert_close(
            sample.image, reference.image * (high - low) + low, check_dtype=True, atol=1e-4, rtol=0
        )
    unit = style([torch.rand(2, 24, 20, generator=generator) * 0.3 for _ in range(3)])
    assert all(torch.equal(a.image, b.image) for a, b in zip(content_like(unit, None, 4, seed=3), plain, strict=True))


def test_more_than_memory_holds_is_cut_short_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    volumes = style([torch.rand(1, 4, 16, 16)])
    monkeypatch.setattr(content, "MOST_BYTES", 3 * 4 * 4 * 16 * 16 + 1)
    assert len(content_like(volumes, None, 3)) == 3 and not caplog.text
    few = content_like(volumes, None, 5)
    assert "3 images of the 5 that were asked for" in caplog.text
    assert [torch.equal(a.image, b.image) for a, b in zip(few, content_like(volumes, None, 3), strict=True)] == [
        True
    ] * 3


def test_style_of_no_or_several_shapes_is_an_error() -> None:
    with pytest.raises(DataError, match="shapes are none; one is required"):
        content_like([], None, 1)
    with pytest.raises(DataError, match="shapes are 1×8×8, 1×8×9; one is required"):
        content_like(style([torch.rand(1, 8, 8), torch.rand(1, 8, 9)]), None, 1)


def test_wrong_folders_and_files_are_named(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder"):
        content_images(tmp_path / "gone", 1, channels=3, size=(8, 8), seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no photograph; files ending in .*\.jpg.*are required"):
        content_images(tmp_path / "empty", 1, channels=3, size=(8, 8), seed=0)
    bad = photographs / "broken.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 half a picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        content_images(photographs, 6, channels=3, size=(8, 8), seed=0)
