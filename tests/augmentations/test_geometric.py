from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unshift.augmentations.geometric import Config, Geometric

STILL = {"flip_probability": 0.0, "shear_probability": 0.0, "affine_probability": 0.0, "elastic_probability": 0.0}


def only(**settings: float) -> Geometric:
    return Geometric(Config(**{**STILL, **settings}))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int, *space: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=(count, channels, *space))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 0, *(4,) * len(space)))).float()


def test_nothing_drawn_is_bit_identical() -> None:
    images, label_maps = torch.rand(3, 2, 17, 23), torch.randint(0, 5, (3, 17, 23))
    member = only()
    parameters = member.draw(generator(), images)
    assert torch.equal(member.apply(images, parameters), images)
    assert torch.equal(member.apply_label_maps(label_maps, parameters), label_maps)


def test_flips_are_exact() -> None:
    images, label_maps = torch.rand(3, 2, 17, 23), torch.randint(0, 5, (3, 17, 23))
    member = only(flip_probability=1.0)
    parameters = member.draw(generator(), images)
    assert torch.equal(member.apply(images, parameters), images.flip(-1))
    assert torch.equal(member.apply_label_maps(label_maps, parameters), label_maps.flip(-1))


def test_image_and_label_map_move_together() -> None:
    """An image equal to its label map stays equal, away from the contours where bilinear mixes."""
    label_maps = (blobs(16, 64, 48)[:, 0] > 0).long()
    images = label_maps[:, None].float()
    member = Geometric(Config())
    parameters = member.draw(generator(1), images)
    assert bool(parameters["warp"].any()) and bool(parameters["flip"].any())
    moved, labels = member.apply(images, parameters)[:, 0], member.apply_label_maps(label_maps, parameters)
    assert not torch.equal(labels, label_maps)
    certain = (moved < 0.01) | (moved > 0.99)
    assert float(certain.float().mean()) > 0.7
    assert torch.equal(moved.round()[certain].long(), labels[certain])
    assert float((moved.round().long() == labels).float().mean()) > 0.99


def test_affine_part_against_scipy() -> None:
    images = blobs(6, 40, 52)
    member = only(shear_probability=1.0, affine_probability=1.0)
    parameters = member.draw(generator(2), images)
    found = member.apply(images, parameters)
    center = (np.array(images.shape[2:]) - 1) / 2
    swap = [1, 0]  # the matrix is in (x, y), SciPy in (row, column)
    for image, matrix, result in zip(images, parameters["matrix"].double().numpy(), found, strict=True):
        linear, shift = matrix[:, :2][swap][:, swap], matrix[:, 2][swap]
        offset = center - linear @ center + shift
        expected = ndimage.affine_transform(image[0].numpy(), linear, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(result[0].numpy(), expected, atol=2e-5)


def test_the_matrix_is_the_inverse_of_what_was_drawn() -> None:
    """With one step at a time, limits of the drawn matrices follow from the settings."""
    images = torch.zeros(4000, 1, 100, 200)
    parameters = only(affine_probability=1.0).draw(generator(3), images)
    forward = torch.linalg.inv(parameters["matrix"][:, :, :2].double())
    scale = torch.linalg.det(forward).sqrt()
    angle = torch.rad2deg(torch.atan2(forward[:, 0, 1], forward[:, 0, 0]))
    shift = -(forward @ parameters["matrix"][:, :, 2:].double())[..., 0]
    for values, low, high in (
        (scale, 0.5, 1.5),
        (angle, -20.0, 20.0),
        (shift[:, 0], -12.5, 12.5),
        (shift[:, 1], -6.25, 6.25),
    ):
        width = high - low
        assert float(values.min()) >= low - 1e-3 and float(values.max()) <= high + 1e-3
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=5 * width / (12 * 4000) ** 0.5)
        assert float(values.std()) == pytest.approx(width / 12**0.5, rel=0.05)


def test_shear_angles() -> None:
    parameters = only(shear_probability=1.0).draw(generator(4), torch.zeros(4000, 1, 8, 8))
    forward = torch.linalg.inv(parameters["matrix"][:, :, :2].double())
    angles = torch.rad2deg(torch.atan(torch.stack([forward[:, 0, 1], forward[:, 1, 0]])))
    assert float(angles.abs().max()) <= 20.001 and float(angles.std()) == pytest.approx(40 / 12**0.5, rel=0.05)
    correlation = torch.corrcoef(angles)[0, 1]
    assert abs(float(correlation)) < 0.08


def test_elastic_points_move_by_at_most_the_limit() -> None:
    space = (90, 60)
    parameters = only(elastic_probability=1.0).draw(generator(5), torch.zeros(2000, 1, *space))
    matrix = parameters["matrix"].double()
    forward = torch.linalg.inv(matrix[:, :, :2])
    shift = -(forward @ matrix[:, :, 2:])
    side = min(space) // 3
    points = torch.tensor([[side, side, -side], [side, -side, -side]], dtype=torch.float64)
    moves = forward @ points + shift - points
    assert float(moves.abs().max()) <= 1.05 + 1e-4
    assert float(moves.std()) == pytest.approx(2.1 / 12**0.5, rel=0.03)


def test_elastic_displacement_has_the_authors_spread_and_smoothness() -> None:
    """Against uniform noise smoothed by SciPy on the full grid, as the authors do."""
    member = only(elastic_probability=1.0, elastic_affine=0.0)
    field = member.draw(generator(6), torch.zeros(24, 1, 128, 96))["field"]
    fine = torch.nn.functional.interpolate(field, size=(128, 96), mode="bilinear", align_corners=False).numpy()
    noise = np.random.default_rng(0).uniform(-1, 1, size=(48, 128, 96))
    reference = 35 * ndimage.gaussian_filter(noise, (0, 5, 5), mode="reflect")
    inner = (..., slice(16, -16), slice(16, -16))
    assert fine[inner].std() == pytest.approx(reference[inner].std(), rel=0.05)
    assert reference[inner].std() == pytest.approx(35 / (12 * np.pi) ** 0.5 / 5, rel=0.05)

    def correlation(x: np.ndarray, lag: int) -> float:
        return float((x[..., lag:] * x[..., :-lag]).mean() / (x**2).mean())

    for lag in (2, 5, 10):
        assert correlation(fine, lag) == pytest.approx(correlation(reference, lag), abs=0.05)


def test_volumes_move_in_plane_and_as_their_slices_would() -> None:
    volume = blobs(3, 4, 32, 40, channels=2)
    labels = (volume[:, 0] > 0).long()
    member = Geometric(Config())
    parameters = member.draw(generator(7), volume)
    moved, moved_labels = member.apply(volume, parameters), member.apply_label_maps(labels, parameters)
    for index in range(4):
        torch.testing.assert_close(moved[:, :, index], member.apply(volume[:, :, index], parameters))
        assert torch.equal(moved_labels[:, index], member.apply_label_maps(labels[:, index], parameters))


def test_beyond_the_edge_is_background() -> None:
    member = only(affine_probability=1.0, scale=0.0, rotate=0.0, shift=0.5)
    images = torch.ones(8, 1, 32, 32)
    parameters = member.draw(generator(8), images)
    labels = member.apply_label_maps(torch.ones(8, 32, 32, dtype=torch.int64), parameters)
    assert set(labels.unique().tolist()) == {0, 1}
    assert float(member.apply(images, parameters).min()) == 0.0


@pytest.mark.parametrize("space", [(1, 1), (2, 5), (7, 3)])
def test_tiny_images(space: tuple[int, int]) -> None:
    images = torch.rand(8, 1, *space)
    member = Geometric(Config())
    assert torch.isfinite(member.apply(images, member.draw(generator(), images))).all()
