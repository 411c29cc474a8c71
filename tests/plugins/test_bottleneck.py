"""The gate: shut for what sources show, open for what they do not; and which style image is nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unshift.layers.restyle import Moments
from unshift.plugins.bottleneck import BEGIN, END, LEAST_IMAGES, Gate, Nearest


def statistics(count: int, *, seed: int = 0, channels: int = 6, shift: float = 0.0) -> Moments:
    """Means and deviations that vary together along one axis, and each a little by itself."""
    random = np.random.default_rng(seed)
    together, own = random.normal(size=(count, 1)), 0.1 * random.normal(size=(count, 2 * channels))
    axis = np.linspace(1, 2, 2 * channels)
    values = torch.tensor(5 + together * axis + own + shift * (-1.0) ** np.arange(2 * channels), dtype=torch.float32)
    return values[:, :channels], values[:, channels:]


def test_it_is_shut_for_sources_and_open_far_from_them() -> None:
    gate = Gate.fit([statistics(100)])
    assert float(gate([statistics(200, seed=1)]).mean()) < 0.01
    assert gate([statistics(200, seed=1, shift=2.0)]).min() == 1


def test_what_sources_vary_in_counts_less_than_what_they_do_not() -> None:
    """A departure of one size: along the sources' own axis it is usual, across it is strange."""
    gate, center = Gate.fit([statistics(100)]), 5 * torch.ones(1, 12)
    axis, across = torch.linspace(1, 2, 12), (-1.0) ** torch.arange(12)
    usual, strange = (center + 1.5 * d / d.norm() for d in (axis, across))
    assert gate([usual.split(6, dim=1)]) == 0 and gate([strange.split(6, dim=1)]) == 1


def test_the_distance_without_components_by_hand() -> None:
    """Ten images are too few for two components; with one, the rest is one variance, as in the formula below."""
    mean, deviation = statistics(LEAST_IMAGES)
    gate = Gate.fit([(mean, deviation)])
    values = torch.cat([mean, deviation], 1).double().numpy()
    center, spread = values.mean(0), values.std(0)
    z = (values - center) / spread
    _, scales, rows = np.linalg.svd(z)
    along = z @ rows[0]
    rest = (scales[1:] ** 2 / len(z)).sum() / (z.shape[1] - 1)
    expected = np.sqrt((along**2 / (scales[0] ** 2 / len(z)) + ((z**2).sum(1) - along**2) / rest) / z.shape[1])
    threshold = expected / (BEGIN + 0.4 * (END - BEGIN))  # an image at 0.4 of the ramp, each in turn
    for i, value in enumerate(threshold):
        gate.threshold = torch.tensor(value, dtype=torch.float32)
        assert float(gate([(mean[i : i + 1], deviation[i : i + 1])])) == pytest.approx(0.4, abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0.01, 100), offset=st.floats(-10, 10))
def test_units_of_the_features_do_not_matter(seed: int, gain: float, offset: float) -> None:
    def changed(found: Moments) -> Moments:
        return gain * found[0] + offset, gain * found[1] + offset

    near, far = statistics(40, seed=seed), statistics(30, seed=seed + 1, shift=0.3)
    plain = Gate.fit([near])([far])
    torch.testing.assert_close(Gate.fit([changed(near)])([changed(far)]), plain, atol=2e-2, rtol=0)


def test_every_tap_is_looked_at() -> None:
    near, far = statistics(60), statistics(10, seed=2, shift=2.0)
    gate = Gate.fit([near, statistics(60, seed=5)])
    same = statistics(10, seed=6)
    assert gate([far, same]).min() == 1 and gate([same, far]).min() == 1 and gate([same, same]).max() < 1


def test_identical_sources_give_finite_factors() -> None:
    constant: Tensor = torch.ones(12, 3)
    gate = Gate.fit([(constant, 0 * constant)])
    assert torch.equal(gate([(constant, 0 * constant)]), torch.zeros(12))
    assert torch.equal(gate([(constant + 1, 0 * constant)]), torch.ones(12))


def test_the_nearest_is_found_by_means_and_deviations() -> None:
    nearest = Nearest(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]] * 3))
    found = (torch.tensor([[3.0, 3.0], [0.0, 0.1]]), torch.tensor([[1.0, 1.0], [1.0, 1.5]]))
    assert nearest(found).tolist() == [1, 0]
    assert nearest.distances(found)[0].tolist() == pytest.approx([18**0.5, 1.0, 13**0.5])
