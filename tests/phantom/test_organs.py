"""MR and CT against theory: Rician noise, bias, slice profile, inversion, geometry."""

from __future__ import annotations

import time

import nibabel
import numpy as np
import pytest
from scipy import special

from unshift.phantom.abdomen import TISSUES
from unshift.phantom.knobs import shift
from unshift.phantom.organs import EXTENT_MM, NEUTRAL, PRESETS, OrganKnobs, Organs, acquired, inverted, noise_deviation
from unshift.phantom.world import Seeds

WORLD, SIZE, SPACING = Organs(), (12, 64, 64), (7.0, 3.5, 3.5)


def draw(knobs: OrganKnobs, seed: int = 0, size: tuple[int, ...] = SIZE):
    return WORLD.render(Seeds(seed, seed), knobs, size)


def noisy(level: float, knobs: OrganKnobs) -> np.ndarray:
    return acquired(np.full((24, 64, 64), level, np.float32), knobs, SPACING, np.random.default_rng(0))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_rician_noise_has_the_mean_of_theory(ratio: float) -> None:
    knobs = OrganKnobs(noise=0.1)
    sigma = noise_deviation(knobs)
    x = -(ratio**2) / 2
    laguerre = np.exp(x / 2) * ((1 - x) * special.i0(-x / 2) - x * special.i1(-x / 2))
    assert noisy(ratio * sigma, knobs).mean() == pytest.approx(sigma * np.sqrt(np.pi / 2) * laguerre, rel=0.01)


def test_gaussian_noise_of_ct_has_no_bias() -> None:
    knobs = OrganKnobs(noise=0.1, rician=0.0)
    values = noisy(0.0, knobs)
    assert values.mean() == pytest.approx(0, abs=0.01 * noise_deviation(knobs))
    assert values.std() == pytest.approx(noise_deviation(knobs), rel=0.02)


def test_noise_grows_with_its_knob() -> None:
    deviations = [noisy(300.0, shift(NEUTRAL, "noise", s)).std() for s in (0.0, 0.25, 0.5, 1.0)]
    assert deviations[0] == 0
    np.testing.assert_allclose(np.array(deviations[1:]) / deviations[-1], [0.25, 0.5, 1.0], rtol=0.08)


def test_neutral_knobs_give_each_tissue_its_signal() -> None:
    image = draw(NEUTRAL).image
    assert set(np.unique(image)) == {np.float32(v) for v in NEUTRAL.tissue}


def test_bias_is_smooth_and_multiplicative() -> None:
    field = noisy(100.0, OrganKnobs(bias=0.3)) / 100
    assert field.min() > 0
    assert np.ptp(np.log(field)) > 0.1
    assert max(np.abs(np.diff(np.log(field), axis=a)).max() for a in (1, 2)) < 0.1
    np.testing.assert_allclose(noisy(300.0, OrganKnobs(bias=0.3)) / 300, field, rtol=1e-5)
    spreads = [np.log(noisy(100.0, OrganKnobs(bias=b))).std() for b in (0.1, 0.2, 0.4)]
    np.testing.assert_allclose(np.array(spreads) / spreads[0], [1, 2, 4], rtol=1e-3)


def test_inversion_turns_the_contrast_and_leaves_air() -> None:
    values = np.array([0.0, 1.0, 2.0, 5.0], np.float32)
    np.testing.assert_allclose(inverted(values, 0.0), values)
    np.testing.assert_allclose(inverted(values, 1.0), [0, 5, 4, 1])
    np.testing.assert_allclose(inverted(values, 0.5), [0, 3, 3, 3])


def test_the_slice_profile_has_the_width_asked_for() -> None:
    signal = np.zeros((81, 5, 5), np.float32)
    signal[40] = 1.0
    profile = acquired(signal, OrganKnobs(thickness=20.0), (1.0, 1.0, 1.0), np.random.default_rng(0))[:, 2, 2]
    wide = np.count_nonzero(profile >= profile.max() / 2)
    assert wide == pytest.approx(20, abs=1)
    assert profile.sum() == pytest.approx(1, rel=1e-3)


def test_ct_is_in_hounsfield_units() -> None:
    drawn = draw(PRESETS["ct"])
    image, labels = drawn.image[0], drawn.label_map
    assert image[:, 0, 0].mean() == pytest.approx(-1000, abs=10)
    for label, tissue in enumerate(("liver", "right_kidney", "left_kidney", "spleen"), start=1):
        expected = PRESETS["ct"].tissue[TISSUES.index(tissue)]
        assert np.median(image[labels == label]) == pytest.approx(expected, abs=40)


def test_the_ct_twin_has_the_same_anatomy() -> None:
    labels = [draw(knobs, 3).label_map for knobs in PRESETS.values()]
    assert all(np.array_equal(labels[0], other) for other in labels[1:])


def test_sites_reverse_each_others_contrast() -> None:
    def kidney_over_liver(name: str) -> float:
        drawn = draw(PRESETS[name], 1, (16, 64, 64))
        image, labels = drawn.image[0], drawn.label_map
        return float(np.median(image[labels == 3]) / np.median(image[labels == 1]))

    assert kidney_over_liver("site1") < 0.9
    assert kidney_over_liver("site2") > 1.3


def test_geometry_is_anisotropic_and_its_affine_agrees() -> None:
    drawn = draw(NEUTRAL, size=(24, 96, 80))
    assert drawn.spacing == pytest.approx([e / n for e, n in zip(EXTENT_MM, (24, 96, 80), strict=True)])
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(drawn.affine), drawn.spacing)
    assert nibabel.aff2axcodes(drawn.affine) == ("S", "P", "L")
    middle = drawn.affine @ [11.5, 47.5, 39.5, 1]
    np.testing.assert_allclose(middle, [0, 0, EXTENT_MM[0] / 2, 1], atol=1e-9)


def test_a_slice_is_cut_from_the_volume() -> None:
    drawn = WORLD.render(Seeds(0, 0), PRESETS["site1"], (64, 48))
    assert drawn.image.shape == (1, 64, 48)
    assert drawn.label_map.shape == (64, 48)
    assert drawn.spacing == pytest.approx((EXTENT_MM[1] / 64, EXTENT_MM[2] / 48))
    assert drawn.affine is None
    present = [np.unique(WORLD.render(Seeds(i, i), PRESETS["site1"], (64, 64)).label_map) for i in range(10)]
    assert min(map(len, present)) >= 2


def test_a_volume_takes_a_fraction_of_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.process_time()
        draw(PRESETS["site2"], size=(24, 96, 96))
        times.append(time.process_time() - start)
    assert min(times) < 0.5
