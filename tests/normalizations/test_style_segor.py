"""StyleSegor: Gram matrices by hand, the loss as published, and what a transfer does and leaves alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

from unshift.config import parse
from unshift.errors import BundleError, DataError, ShapeMismatch
from unshift.normalizations.style_segor import MEMBER, STRIDES, gram
from unshift.normalizations.vgg import load_vgg
from unshift.sample import Sample
from untrained import write_untrained_vgg


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """So small are these features that a second thread costs more than it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    write_untrained_vgg(path)
    return path


def sample(image: torch.Tensor, fov: torch.Tensor | None = None, case: str = "c") -> Sample:
    return Sample(image, case=case, patient="p", domain="d", field_of_view=fov)


def noise(*shape: int, seed: int = 0, period: int = 1) -> torch.Tensor:
    """Random blocks of ``period`` pixels, in [0, 1]: a texture of that size."""
    coarse = [n if i < len(shape) - 2 else -(-n // period) for i, n in enumerate(shape)]
    values = torch.rand(coarse, generator=torch.Generator().manual_seed(seed))
    for axis in (-1, -2):
        values = values.repeat_interleave(period, axis)
    return values[..., : shape[-2], : shape[-1]]


def fitted(weights: Path, *images: torch.Tensor | Sample, **settings: Any) -> Any:
    samples = [image if isinstance(image, Sample) else sample(image) for image in images]
    return MEMBER(MEMBER.Config(weights=weights, **{"width": None, "tail": 0.0, **settings})).fit(samples)


def restyled(method: Any, image: torch.Tensor, fov: torch.Tensor | None = None) -> torch.Tensor:
    [view] = method.views(sample(image, fov))
    return view.image


def stretched(image: torch.Tensor) -> torch.Tensor:
    return (image - image.min()) / (image.max() - image.min())


def plain_gram(feature: torch.Tensor) -> torch.Tensor:
    return torch.einsum("chw,dhw->cd", feature, feature) / feature.numel()


def losses(weights: Path, image: torch.Tensor, content: torch.Tensor, style: torch.Tensor) -> tuple[float, float]:
    """The published terms without their weights, of RGB pictures, computed apart from the member."""
    vgg, _ = load_vgg("vgg16", weights, standardize=False)
    features = [vgg(x[None], STRIDES) for x in (image, content, style)]
    grams = [[plain_gram(f[0]) for f in found.values()] for found in features]
    apart = sum(float(F.mse_loss(a, b)) for a, b in zip(grams[0], grams[2], strict=True))
    return apart, float(F.mse_loss(features[0]["relu3_3"], features[1]["relu3_3"]))


def test_gram_by_hand() -> None:
    feature = torch.tensor([[[[1.0, 2], [0, 1]], [[3.0, 0], [1, 1]]]])
    assert (gram(feature, torch.ones(2, 2)) * 8).tolist() == [[6, 4], [4, 11]]
    half = torch.tensor([[1.0, 0.5], [0, 0]])
    assert (gram(feature, half) * 3).tolist() == [[3, 3], [3, 9]]


def test_what_is_kept_of_the_style_is_its_gram_matrices(weights: Path) -> None:
    style = noise(3, 24, 40)
    state = fitted(weights, style).state_dict()
    vgg, _ = load_vgg("vgg16", weights, standardize=False)
    for tap, feature in vgg(stretched(style)[None], STRIDES).items():
        torch.testing.assert_close(state[f"gram.{tap}"][0, 0], plain_gram(feature[0]))
    assert state["range"].tolist() == [[float(style.min()), float(style.max())]]
    standardized = fitted(weights, style, standardize=True).state_dict()
    assert not torch.allclose(standardized["gram.relu1_2"], state["gram.relu1_2"], rtol=0.1)


def test_the_gram_distance_falls_and_content_stays(weights: Path) -> None:
    content, style = stretched(noise(3, 40, 40, seed=1, period=8)), stretched(noise(3, 40, 40, seed=2) ** 3)
    method = fitted(weights, style)
    result = restyled(method, content)
    before, _ = losses(weights, content, content, style)
    after, moved = losses(weights, result, content, style)
    _, replaced = losses(weights, style, content, style)
    assert after < before / 100
    assert moved < 0.6 * replaced
    assert np.corrcoef(result.flatten(), content.flatten())[0, 1] > 0.8


def test_the_loss_is_the_published_one(weights: Path) -> None:
    content, style = stretched(noise(3, 24, 24, seed=1, period=6)), stretched(noise(3, 24, 24, seed=2))
    method = fitted(weights, style)
    seen: list[tuple[torch.Tensor, float]] = []
    loss = method._loss

    def record(image: torch.Tensor, *rest: Any) -> torch.Tensor:
        value = loss(image, *rest)
        seen.append((image.detach().clone(), float(value.detach())))
        return value

    method._loss = record
    result = restyled(method, content)
    assert len(seen) == 60 and torch.equal(seen[0][0], content)
    for image, value in (seen[0], seen[9], seen[-1]):
        apart, moved = losses(weights, image, content, style)
        assert value == pytest.approx(1e6 * apart + moved, rel=1e-3)
    best = min(seen, key=lambda pair: pair[1])[0]
    torch.testing.assert_close(result * (style.max() - style.min()) + style.min(), best.clamp(0, 1))


def test_without_style_images_and_weight_nothing_moves(weights: Path) -> None:
    content = stretched(noise(3, 24, 24, period=3))
    torch.testing.assert_close(restyled(fitted(weights, content), content), content, atol=2e-3, rtol=0)
    timid = fitted(weights, stretched(noise(3, 24, 24, seed=5)), style_weight=1e-12)
    torch.testing.assert_close(restyled(timid, content), content, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 20, 24), (2, 20, 24), (1, 3, 20, 24), (3, 2, 16, 16)])
def test_any_units_and_axes(weights: Path, shape: tuple[int, ...]) -> None:
    source, image = noise(*shape) * 300 - 1000, noise(*shape, seed=1) * 40
    method = fitted(weights, source, evaluations=5)
    result = restyled(method, image)
    assert result.shape == image.shape and result.isfinite().all()
    assert result.min() >= source.min() - 1e-3 and result.max() <= source.max() + 1e-3
    torch.testing.assert_close(restyled(method, image * 7 + 3), result, atol=0.5, rtol=0)


def test_only_the_inside_counts_and_outside_is_zero(weights: Path) -> None:
    fov = torch.zeros(32, 32, dtype=torch.bool)
    fov[8:, :24] = True
    source, image, junk = noise(1, 32, 32), noise(1, 32, 32, seed=1, period=4), noise(1, 32, 32, seed=9) * 50
    method = fitted(weights, sample(torch.where(fov, source, junk), fov), evaluations=10)
    other = fitted(weights, sample(source, fov), evaluations=10)
    for name, value in method.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    result = restyled(method, torch.where(fov, image, junk), fov)
    assert not result[:, ~fov].any()
    assert torch.equal(result, restyled(method, image, fov))
    assert not torch.allclose(result, restyled(method, image)[:, :], atol=1e-3)


def test_the_style_of_the_nearest_histogram(weights: Path) -> None:
    images = [noise(1, 24, 24, seed=i) ** power for i, power in enumerate((0.2, 1.0, 6.0))]
    content = noise(1, 24, 24, seed=7) ** 5
    distances = [wasserstein_distance(stretched(content).flatten(), stretched(x).flatten()) for x in images]
    chosen = images[int(np.argmin(distances))]
    assert chosen is images[2]
    settings = {"evaluations": 8}
    nearest = fitted(weights, *images, **settings).state_dict()
    assert nearest["gram.relu1_2"].shape == (3, 1, 4, 4) and nearest["histogram"].shape == (3, 1, 256)
    alone = fitted(weights, chosen, **settings)
    alone._style["range"] = nearest["range"]
    assert torch.equal(restyled(fitted(weights, *images, **settings), content), restyled(alone, content))


def test_first_and_mean(weights: Path) -> None:
    images = [noise(1, 24, 24, seed=i, period=1 + i) for i in range(4)]
    single = [fitted(weights, image).state_dict() for image in images]
    first = fitted(weights, *images, style="first").state_dict()
    mean = fitted(weights, *images, style="mean", style_images=2).state_dict()
    for name in first:
        assert torch.equal(first[name], single[0][name]), name
        if not name.startswith("network."):
            torch.testing.assert_close(mean[name], (single[0][name] + single[2][name]) / 2)


def test_width_is_where_pixels_are_optimized(weights: Path) -> None:
    small, large = noise(1, 16, 24, period=4), noise(1, 64, 96, period=16)
    method = fitted(weights, small, width=32, evaluations=6)
    sides = []
    features = method._features

    def record(picture: torch.Tensor) -> Any:
        sides.append(tuple(picture.shape[1:]))
        return features(picture)

    method._features = record
    for image in (small, large):
        assert restyled(method, image).shape == image.shape
    assert set(sides) == {(32, 48)}
    still = fitted(weights, large, width=32, style_weight=1e-12)
    torch.testing.assert_close(restyled(still, large), large, atol=1e-4, rtol=0)


def test_constant_images_and_slices_stay(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    method = fitted(weights, noise(1, 16, 16) + 5, evaluations=4)
    with caplog.at_level(logging.WARNING):
        result = restyled(method, torch.full((1, 16, 16), 3.0))
    assert result.unique().tolist() == [float((noise(1, 16, 16) + 5).min())] and "constant (3)" in caplog.text
    volume = noise(1, 3, 16, 16, seed=4)
    volume[:, 1] = volume.min()
    changed = restyled(method, volume)
    assert changed[:, 1].unique().numel() == 1 and changed[:, 0].unique().numel() > 100


def test_tails_are_cut(weights: Path) -> None:
    image = noise(1, 40, 40)
    image[0, 0, 0], image[0, 5, 5] = 100, -100
    low, high = fitted(weights, image, tail=0.005).state_dict()["range"][0].tolist()
    ordered = image.flatten().sort().values
    assert (low, high) == (float(ordered[8]), float(ordered[1592]))


def test_state_rebuilds_it_without_a_file(weights: Path) -> None:
    image = noise(1, 24, 24, seed=3)
    method = fitted(weights, noise(1, 24, 24), noise(1, 24, 24, seed=2), evaluations=6)
    assert method.origin == "random numbers (vgg16.safetensors)"
    fresh = MEMBER(MEMBER.Config(width=None, tail=0.0, evaluations=6))
    with pytest.raises(DataError, match="not fitted"):
        restyled(fresh, image)
    assert fresh.state_dict() == {}
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(restyled(fresh, image), restyled(method, image))
    without = {name: value for name, value in method.state_dict().items() if name != "gram.relu2_2"}
    with pytest.raises(BundleError, match=r"lacks \['gram.relu2_2'\]"):
        fresh.load_state_dict(without)


def test_settings_and_files(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("UNSHIFT_CACHE", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert parse(MEMBER.Config, {"weights": "torchvision"}, where="r").weights == "torchvision"
    config = parse(MEMBER.Config, {"weights": str(weights)}, where="r")
    assert config.weights == weights and MEMBER.files(config) == (weights,)
    assert MEMBER.files(MEMBER.Config()) == ()
    with pytest.raises(DataError, match="unshift prepare vgg16 --content FOLDER"):
        MEMBER(MEMBER.Config()).fit([sample(noise(1, 8, 8))])
    write_untrained_vgg(tmp_path / "vgg16.safetensors")
    assert MEMBER.files(MEMBER.Config()) == (tmp_path / "vgg16.safetensors",)
    assert MEMBER.files(MEMBER.Config(weights="torchvision")) == ()


def test_what_cannot_be_done_is_said(weights: Path) -> None:
    with pytest.raises(DataError, match="no source image"):
        fitted(weights)
    with pytest.raises(DataError, match=r"Case 'c': 2 channels, and 1 in case 'c'"):
        fitted(weights, noise(1, 8, 8), noise(2, 8, 8))
    with pytest.raises(DataError, match=r"Case 'c': 2 channels in 2 pictures; the source had 1"):
        restyled(fitted(weights, noise(1, 8, 8)), noise(2, 8, 8))
    with pytest.raises(ShapeMismatch, match=r"1×3×7×9; batch × 3 × at least 8 × 8"):
        restyled(fitted(weights, noise(1, 8, 8)), noise(1, 7, 9))
