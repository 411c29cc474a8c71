"""FDA with target amplitudes: spectra as NumPy has them, entropies as SciPy has them, and erm when switched off."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from adaptation_batches import TASK, build, is_erm, source, target
from unshift.config import parse
from unshift.errors import ConfigError, DataError
from unshift.objectives.fda_adapt import FdaAdapt, robust_entropy
from unshift.sample import Task


def test_switched_off_it_is_erm() -> None:
    assert is_erm(build(FdaAdapt, probability=0.0, entropy_weight=0.0))


def test_low_amplitudes_are_the_targets_and_all_else_the_sources() -> None:
    """One target image is everybody's partner; ⌊0.09 · 32⌋ = 2."""
    one = target(1)
    found = build(FdaAdapt, windows=(0.09,)).swapped(source(), one).double().numpy()
    mine, given = (np.fft.fft2(b.images.double().numpy()) for b in (source(), one))
    rows = np.minimum(np.arange(32), 32 - np.arange(32)) <= 2
    inside = rows[:, None] & rows[None, :]
    spectra = np.where(inside, np.abs(given) * np.exp(1j * np.angle(mine)), mine)
    np.testing.assert_allclose(found, np.fft.ifft2(spectra).real.clip(0, 1), atol=1e-5)


def test_other_units_count_from_each_images_own_range() -> None:
    objective = build(FdaAdapt, windows=(0.05,), intensities="image")
    stretched = dataclasses.replace(source(), images=300 * source().images - 100)
    hounsfield = dataclasses.replace(target(), images=2000 * target().images - 1000)
    low = source().images.amin((1, 2, 3), keepdim=True)
    span = source().images.amax((1, 2, 3), keepdim=True) - low
    expected = objective.swapped(dataclasses.replace(source(), images=(source().images - low) / span), target())
    torch.testing.assert_close(
        objective.swapped(stretched, hounsfield), 300 * (expected * span + low) - 100, atol=1e-2, rtol=0
    )
    with pytest.raises(DataError, match="Objective fda_adapt: intensities span"):
        build(FdaAdapt)(stretched, target(), phase="train")


def test_entropy_is_that_of_scipy() -> None:
    logits = 3 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = entropy(softmax(logits.double().numpy(), axis=1), axis=1) / math.log(3)
    assert float(robust_entropy(logits, 2.0)) == pytest.approx(((expected**2 + 1e-6) ** 2).mean(), rel=1e-4)


def test_where_the_network_is_sure_the_floor_is_left() -> None:
    """E = 0: with η = 1/2 the term is the root of the floor alone, and its gradient is a number."""
    logits = torch.tensor([[200.0, 0.0, 0.0]])[..., None, None].requires_grad_()
    found = robust_entropy(logits, 0.5)
    found.backward()
    assert found.item() == pytest.approx(0.001, rel=1e-5) and logits.grad is not None and logits.grad.isfinite().all()


def test_neighboring_slices_are_swapped_alike() -> None:
    task = Task(1, TASK.classes, spatial_dims=3)
    objective = build(FdaAdapt, task=task, channels=3)
    batch = dataclasses.replace(source(), images=source().images.repeat(1, 3, 1, 1))
    other = dataclasses.replace(target(), images=target().images.repeat(1, 3, 1, 1))
    found = objective.swapped(batch, other)
    assert found.shape == batch.images.shape and not torch.equal(found, batch.images)
    torch.testing.assert_close(found[:, 0], found[:, 2])


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match="shares from 0 to 0.5 are required"):
        parse(FdaAdapt.Config, {"windows": [0.7]}, where="x")
    with pytest.raises(DataError, match="no unlabeled image"):
        build(FdaAdapt)(source(), phase="train")
