from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat

from unshift.contracts import Picture
from unshift.errors import DataError, ShapeMismatch
from unshift.formats.nifti import MEMBER

RNG = np.random.default_rng(2)
NIFTI = MEMBER()
AFFINE = np.array([[0, -0.7, 0, 5], [0.5, 0, 0, -9], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = AFFINE, **fields: float) -> Path:
    image = nib.Nifti1Image(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def test_axes_are_reversed(tmp_path: Path) -> None:
    array = RNG.integers(-900, 3000, (4, 5, 6), dtype=np.int16)
    picture = NIFTI.read_image(save(tmp_path / "a.nii.gz", array))
    assert picture.array.dtype == torch.float32
    np.testing.assert_array_equal(picture.array.numpy()[0], array.transpose(2, 1, 0))
    assert picture.spacing == pytest.approx((2.5, 0.7, 0.5))
    # voxel x=3, y=1, z=2 is array index depth 2, height 1, width 3
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine.numpy() @ [2, 1, 3, 1], AFFINE @ [3, 1, 2, 1], rtol=1e-6)


def test_flat_pictures_and_channels(tmp_path: Path) -> None:
    flat = RNG.random((4, 5)).astype(np.float32)
    picture = NIFTI.read_image(save(tmp_path / "a.nii", flat))
    np.testing.assert_array_equal(picture.array.numpy()[0], flat.T)
    assert picture.spacing == pytest.approx((0.7, 0.5))
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine.numpy() @ [0, 1, 3, 1], AFFINE @ [3, 1, 0, 1], rtol=1e-6)
    for shape in ((4, 5, 6, 2), (4, 5, 6, 1, 2)):
        array = RNG.random(shape).astype(np.float32)
        picture = NIFTI.read_image(save(tmp_path / "b.nii.gz", array))
        np.testing.assert_array_equal(picture.array.numpy(), array.reshape(4, 5, 6, 2).transpose(3, 2, 1, 0))
        assert picture.spacing == pytest.approx((2.5, 0.7, 0.5))
    assert NIFTI.read_image(save(tmp_path / "c.nii", flat[..., None])).array.shape == (1, 1, 5, 4)


def test_rgb_is_in_0_1(tmp_path: Path) -> None:
    color = RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    packed = color.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    picture = NIFTI.read_image(save(tmp_path / "a.nii.gz", packed))
    np.testing.assert_array_equal(picture.array.numpy(), color.transpose(3, 2, 1, 0).astype(np.float32) / 255)


def test_scaling_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    image.header.set_slope_inter(2.0, -1000.0)
    data = bytearray(image.to_bytes())
    (tmp_path / "a.nii").write_bytes(data)
    stored = nib.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(NIFTI.read_image(tmp_path / "a.nii").array.numpy()[0], stored.get_fdata().transpose())


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001), ("unknown", 1.0)])
def test_units_become_mm(tmp_path: Path, unit: str, factor: float) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), AFFINE)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    picture = NIFTI.read_image(tmp_path / "a.nii")
    assert picture.spacing == pytest.approx(np.array([2.5, 0.7, 0.5]) * factor)
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine[:3, 3].numpy(), AFFINE[:3, 3] * factor, rtol=1e-6)


def test_without_forms_spacing_comes_from_pixdim(tmp_path: Path) -> None:
    known, unknown = [1, 0.5, 0.7, 2.5, 1, 1, 1, 1], [1, 0.5, 0.7, 0, 1, 1, 1, 1]
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), None, pixdim=known)
    assert NIFTI.read_image(path).affine is None
    assert NIFTI.read_image(path).spacing == pytest.approx((2.5, 0.7, 0.5))
    path = save(tmp_path / "b.nii", np.zeros((3, 4, 5), np.uint8), None, pixdim=unknown)
    assert NIFTI.read_image(path).spacing is None


def test_contradicting_voxel_sizes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), pixdim=[1, 1, 1, 1, 1, 1, 1, 1], qform_code=0)
    with pytest.raises(DataError, match=r"1.0×1.0×1.0 mm by pixdim but 0.5×0.7×2.5 mm by the affine; both must agree"):
        NIFTI.read_image(path)


def test_nifti_2_and_swapped_endings(tmp_path: Path) -> None:
    array = RNG.integers(0, 9, (4, 5, 6), dtype=np.uint8)
    plain = nib.Nifti2Image(array, AFFINE).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(plain)
    (tmp_path / "b.nii").write_bytes(gzip.compress(plain))
    for name in ("a.nii.gz", "b.nii"):
        np.testing.assert_array_equal(NIFTI.read_label_map(tmp_path / name).array.numpy(), array.transpose())


def test_big_endian(tmp_path: Path) -> None:
    array = RNG.integers(0, 999, (4, 5, 6)).astype(">i2")
    nib.save(nib.Nifti1Image(array, AFFINE, nib.Nifti1Header(endianness=">")), tmp_path / "a.nii")
    picture = NIFTI.read_label_map(tmp_path / "a.nii")
    np.testing.assert_array_equal(picture.array.numpy(), array.transpose())
    assert picture.spacing == pytest.approx((2.5, 0.7, 0.5))


def test_label_maps_of_floats(tmp_path: Path) -> None:
    array = RNG.integers(0, 4, (4, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(
        NIFTI.read_label_map(save(tmp_path / "a.nii", array)).array.numpy(), array.transpose()
    )
    array[1, 1, 1] = 0.5
    with pytest.raises(DataError, match=r"a.nii: 1 label\(s\) are not whole numbers, for example 0.5"):
        NIFTI.read_label_map(save(tmp_path / "a.nii", array))
    with pytest.raises(DataError, match="a.nii: shape is 4×5×6×2; a label map has one channel"):
        NIFTI.read_label_map(save(tmp_path / "a.nii", np.zeros((4, 5, 6, 2), np.uint8)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    zooms=st.tuples(*[st.floats(0.1, 10)] * 3),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    shear=st.floats(-0.3, 0.3),
    space=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    top=st.sampled_from([1, 255, 300, 70000]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_any_orientation_survives(
    tmp_path: Path, angles, zooms, signs, origin, shear, space, top: int, suffix: str
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (
        euler2mat(*angles) @ np.diag(np.array(zooms) * signs) @ np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    )
    affine[:3, 3] = origin
    label_map = torch.from_numpy(np.random.default_rng(top).integers(-1 if top == 300 else 0, top + 1, space))
    lengths = np.linalg.norm(affine[:3, :3], axis=0)[-len(space) :]
    like = Picture(label_map, tuple(lengths.tolist()), torch.from_numpy(affine))
    path = tmp_path / f"a{suffix}"
    NIFTI.write_label_map(path, label_map, like=like)
    result = NIFTI.read_label_map(path)
    assert torch.equal(result.array, label_map)
    assert result.spacing == pytest.approx(like.spacing, rel=1e-4)
    assert result.affine is not None
    np.testing.assert_allclose(result.affine.numpy(), affine, atol=1e-4)
    again = NIFTI.read_label_map(path)
    NIFTI.write_label_map(path, again.array, like=again)
    assert torch.equal(NIFTI.read_label_map(path).affine, result.affine)  # exact from the first reading on
    np.testing.assert_allclose(nib.load(path).affine[:, [2, 1, 0, 3]], affine, atol=1e-4)


@pytest.mark.parametrize("spacing", [None, (2.0, 0.5, 0.25)])
def test_what_is_not_known_is_not_invented(tmp_path: Path, spacing: tuple[float, ...] | None) -> None:
    label_map = torch.ones(2, 3, 4, dtype=torch.int64)
    NIFTI.write_label_map(tmp_path / "a.nii.gz", label_map, like=Picture(label_map, spacing))
    result = NIFTI.read_label_map(tmp_path / "a.nii.gz")
    assert (result.spacing, result.affine) == (spacing, None)


def test_the_same_label_map_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        NIFTI.write_label_map(tmp_path / name, torch.ones(2, 3, 4, dtype=torch.int64))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_writing_errors(tmp_path: Path) -> None:
    flat = torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(DataError, match=r"NIfTI files end in .nii or .nii.gz"):
        NIFTI.write_label_map(tmp_path / "a.png", flat)
    with pytest.raises(DataError, match="label map is 2; 2 or 3 axes are required"):
        NIFTI.write_label_map(tmp_path / "a.nii", flat[0])
    with pytest.raises(ShapeMismatch, match="label map has 2 axes but spacing has 3"):
        NIFTI.write_label_map(tmp_path / "a.nii", flat, like=Picture(flat, (1.0, 1.0, 1.0)))
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_real_volumes_round_trip_exactly(real_data: Path, tmp_path: Path) -> None:
    masks = sorted((real_data / "spinalcord_gm_mri_3d").glob("*/masks/*.nii.gz"))
    assert len(masks) == 8
    for mask in masks:
        stored = nib.load(mask)
        picture = NIFTI.read_label_map(mask)
        np.testing.assert_array_equal(picture.array.numpy(), np.asarray(stored.dataobj).transpose())
        assert picture.affine is not None
        np.testing.assert_array_equal(picture.affine.numpy(), stored.affine[:, [2, 1, 0, 3]])
        assert picture.spacing == pytest.approx(tuple(map(float, reversed(stored.header.get_zooms()))), rel=1e-5)
        NIFTI.write_label_map(tmp_path / mask.name, picture.array, like=picture)
        again, written = NIFTI.read_label_map(tmp_path / mask.name), nib.load(tmp_path / mask.name)
        assert torch.equal(again.array, picture.array) and torch.equal(again.affine, picture.affine)
        np.testing.assert_array_equal(written.affine, stored.affine)
        assert nib.aff2axcodes(written.affine) == nib.aff2axcodes(stored.affine)
        image = NIFTI.read_image(Path(str(mask).replace("masks", "images")))
        assert image.array.shape[1:] == picture.array.shape and torch.equal(image.affine, picture.affine)


def test_images_are_written_with_their_geometry(tmp_path: Path) -> None:
    before = NIFTI.read_image(save(tmp_path / "a.nii.gz", RNG.random((4, 5, 6)).astype(np.float32)))
    for name in ("b.nii", "b.nii.gz"):
        NIFTI.write_image(tmp_path / name, before)
        after = NIFTI.read_image(tmp_path / name)
        assert torch.equal(after.array, before.array)
        assert after.spacing == pytest.approx(before.spacing)
        assert after.affine is not None and before.affine is not None
        np.testing.assert_allclose(after.affine.numpy(), before.affine.numpy(), rtol=1e-6)
    assert (tmp_path / "b.nii.gz").read_bytes()[:2] == b"\x1f\x8b"
    with pytest.raises(DataError, match=r"c\.png: 1 channel\(s\); one, and a name in \.nii or \.nii\.gz, are required"):
        NIFTI.write_image(tmp_path / "c.png", before)
    with pytest.raises(DataError, match="2 channel"):
        NIFTI.write_image(tmp_path / "c.nii", Picture(torch.zeros(2, 3, 4, 5)))
