from __future__ import annotations

from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
import torch
from PIL import Image

from unshift.errors import DataError
from unshift.formats.photo import MEMBER

RNG = np.random.default_rng(1)
PHOTO = MEMBER()
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    return PHOTO.read_image(path).array.numpy()


def labels(path: Path) -> np.ndarray:
    return PHOTO.read_label_map(path).array.numpy()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_8_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    for array in (GREY, COLOR):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(array).save(path)
        expected = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        result = read(path)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, expected.astype(np.float32) / 255)
        assert PHOTO.read_image(path).spacing is None and PHOTO.read_image(path).affine is None


def test_jpeg_equals_pillow_and_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read(tmp_path / "a.jpg")[0] * 255, smooth, atol=4)
    Image.fromarray(COLOR).save(tmp_path / "c.jpeg")
    np.testing.assert_array_equal(
        read(tmp_path / "c.jpeg") * 255, np.asarray(Image.open(tmp_path / "c.jpeg")).transpose(2, 0, 1)
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_gray_and_color_keep_all_bits(tmp_path: Path, suffix: str) -> None:
    deep = RNG.integers(0, 2**16, (6, 9), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"g{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"g{suffix}")[0], deep.astype(np.float32) / 65535)
    np.testing.assert_array_equal(labels(tmp_path / f"g{suffix}"), deep)
    color = RNG.integers(0, 2**16, (6, 9, 3), dtype=np.uint16)
    path = tmp_path / f"c{suffix}"
    if suffix == ".png":
        with path.open("wb") as file:
            png.Writer(9, 6, greyscale=False, bitdepth=16).write(file, color.reshape(6, -1).tolist())
    else:
        tifffile.imwrite(path, color, photometric="rgb")
    np.testing.assert_array_equal(read(path), color.transpose(2, 0, 1).astype(np.float32) / 65535)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped_without_compositing(tmp_path: Path, mode: str) -> None:
    color = GREY[..., None] if mode == "LA" else COLOR
    alpha = RNG.integers(0, 256, (6, 9, 1), dtype=np.uint8)
    Image.fromarray(np.concatenate([color, alpha], axis=2), mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png") * 255, color.transpose(2, 0, 1))


@pytest.mark.parametrize("transparency", [None, b"\x00\x80\xff"])
def test_palette_is_rgb_for_images_and_indices_for_label_maps(tmp_path: Path, transparency: bytes | None) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 64])
    image.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    colors = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 64]])[indices]
    np.testing.assert_allclose(read(tmp_path / "a.png") * 255, colors.transpose(2, 0, 1), atol=1e-4)
    np.testing.assert_array_equal(labels(tmp_path / "a.png"), indices)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_1_bit(tmp_path: Path, suffix: str) -> None:
    mask = GREY > 100
    Image.fromarray(mask).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}")[0], mask.astype(np.float32))
    np.testing.assert_array_equal(labels(tmp_path / f"a{suffix}"), mask.astype(int))


@pytest.mark.parametrize("bits", [2, 4])
def test_shallow_gray_labels_are_not_scaled(tmp_path: Path, bits: int) -> None:
    stored = np.arange(16).reshape(4, 4) % 2**bits
    with (tmp_path / "a.png").open("wb") as file:
        png.Writer(4, 4, greyscale=True, bitdepth=bits).write(file, stored.tolist())
    np.testing.assert_array_equal(labels(tmp_path / "a.png"), stored)
    np.testing.assert_allclose(read(tmp_path / "a.png")[0], stored / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    """The stored picture is turned so that, seen by the tag, the bright corner is at the upper left."""
    upright = np.zeros((16, 24), dtype=np.uint8)
    upright[:8, :8] = 255
    turn = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's inverse transposes
    stored = Image.fromarray(upright) if turn is None else Image.fromarray(upright).transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)
    np.testing.assert_allclose(read(tmp_path / f"a{suffix}")[0], upright / 255, atol=0.02)
    np.testing.assert_allclose(labels(tmp_path / f"a{suffix}"), upright, atol=5)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, 0, 0], [0, 1, 1])
    with pytest.raises(DataError, match="a.tif: .*CMYK colors, a label map is grey, palette or RGB"):
        labels(tmp_path / "a.tif")


def test_float_tiff_must_be_in_0_1(tmp_path: Path) -> None:
    fractions = RNG.random((4, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", fractions)
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], fractions)
    tifffile.imwrite(tmp_path / "b.tif", fractions * 1000)
    with pytest.raises(DataError, match="b.tif: float32 values .* a photograph has 8 or 16 unsigned bits"):
        read(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.full((4, 5), 3, np.int32))
    assert labels(tmp_path / "c.tif").max() == 3


def test_rgb_label_maps_need_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.stack([GREY] * 3, axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(labels(tmp_path / "a.png"), GREY)
    Image.fromarray(COLOR).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="b.png: a color picture; a label map needs one number per pixel"):
        labels(tmp_path / "b.png")


def test_the_content_decides_not_the_ending(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(labels(tmp_path / "a.jpg"), GREY)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM"])
def test_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    Image.fromarray(COLOR).save(tmp_path / "a.png", format=kind)
    with pytest.raises(DataError, match=r"a.png: not a complete, valid PNG, JPEG, TIFF or BMP picture \([^<]*\)"):
        read(tmp_path / "a.png")


def test_several_pictures_in_one_file(tmp_path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "b.png", save_all=True, append_images=[second])
    for name in ("a.tif", "b.png"):
        with pytest.raises(DataError, match=f"{name}: 2 pages; a picture has one. Save the pages singly"):
            read(tmp_path / name)
    Image.fromarray(COLOR).save(
        tmp_path / "c.jpg", format="MPO", save_all=True, append_images=[Image.fromarray(255 - COLOR)]
    )
    Image.fromarray(COLOR).save(tmp_path / "d.jpg", format="JPEG")
    np.testing.assert_array_equal(read(tmp_path / "c.jpg"), read(tmp_path / "d.jpg"))


def test_more_than_four_channels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 4, 6), np.uint16), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(DataError, match="a.tif: .*6.* channels; a picture has 1 to 4"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("suffix", "top"), [(".png", 255), (".png", 65535), (".tiff", 65535), (".bmp", 255)])
def test_label_maps_survive_writing(tmp_path: Path, suffix: str, top: int) -> None:
    label_map = torch.from_numpy(RNG.integers(0, top + 1, (5, 7)))
    label_map[0, 0] = top
    PHOTO.write_label_map(tmp_path / f"a{suffix}", label_map)
    result = PHOTO.read_label_map(tmp_path / f"a{suffix}").array
    assert result.dtype == torch.int64 and torch.equal(result, label_map)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "label_map", "words"),
    [
        ("a.jpg", torch.zeros(2, 2, dtype=torch.int64), r"\.jpg cannot hold exact labels; .* Use .png"),
        ("a.png", torch.zeros(2, 2, 2, dtype=torch.int64), "has 3 axes; a picture has 2"),
        ("a.bmp", torch.full((2, 2), 256), "labels are 256 … 256; this kind of file holds uint8"),
        ("a.png", torch.full((2, 2), -1), "labels are -1 … -1"),
    ],
)
def test_label_maps_that_do_not_fit(tmp_path: Path, name: str, label_map: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        PHOTO.write_label_map(tmp_path / name, label_map)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_real_photographs(real_data: Path) -> None:
    for folder, channels in (("fundus_vessel/HRF", 3), ("fetal_head_us/HC18", 1)):
        image = sorted((real_data / folder / "images").iterdir())[0]
        [mask] = (real_data / folder / "masks").glob(f"{image.stem}.*")
        picture, label_map = PHOTO.read_image(image), PHOTO.read_label_map(mask)
        assert picture.array.shape == (channels, *label_map.array.shape)
        assert set(label_map.array.unique().tolist()) == {0, 255}
        assert picture.array.min() >= 0 and picture.array.max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_of_too_many_channels_says_how_many_are_read(tmp_path: Path, kind: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 8, 5), kind), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"a.tif: 5 channels; a picture has 1 to 4 .*NIfTI"):
        PHOTO.read_image(tmp_path / "a.tif")
