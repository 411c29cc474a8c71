from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unshift.errors import BundleError, ConfigError, DataError
from unshift.experiment.pretraining import PretrainConfig, draw
from unshift.experiment.transfer import (
    Features,
    Reconstruction,
    Source,
    find_encoder,
    mean_psnr,
    prepare,
    style_loss,
)
from unshift.normalizations.vgg import Vgg, load_vgg
from unshift.normalizations.wavelet import load_autoencoder
from unshift.train.devices import Devices
from untrained import write_untrained_wavelet

TINY = PretrainConfig(steps=6, batch=2, size=32)
CPU = Devices(accelerator="cpu")
TEXTURES = Source(None, 8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("UNSHIFT_CACHE", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path / "UNSHIFT_CACHE"


def images(count: int, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(7))


def vgg(name: str = "vgg16", width: int = 4) -> Vgg:
    learner = Features(name, width, seed=1)
    return learner.vgg.requires_grad_(False)


def test_the_decoder_learns_behind_a_vgg_that_stays(cache: Path) -> None:
    given = prepare("vgg16", TEXTURES, TINY, width=4, devices=CPU)
    assert given.path == cache / "vgg16.safetensors"
    prepared = prepare("wct_ain", TEXTURES, TINY, devices=CPU)
    network, origin = load_autoencoder(prepared.path)
    loaded, said = load_vgg("vgg16", given.path)
    assert (
        origin
        == prepared.origin
        == f"encoder: {said}; decoder: learned in 6 steps of 2 crops of 32 pixels on 8 made-up textures"
    )
    convolutions = [layer for layer in loaded.features if isinstance(layer, torch.nn.Conv2d)]
    for own, theirs in zip(network.encoder.values(), convolutions, strict=False):
        assert torch.equal(own.weight, theirs.weight)
        assert torch.equal(own.bias, theirs.bias)
    assert torch.equal(network.mean, loaded.mean)
    assert 3 < prepared.figures["psnr"] < 60
    last = json.loads(Path(f"{prepared.path}.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["held_out"] == prepared.figures and last["settings"]["steps"] == 6
    assert not list(cache.glob(".*"))


def test_the_same_seed_gives_the_same_file(cache: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare("vgg19", TEXTURES, TINY, width=2, output=tmp_path / name / "w.safetensors", devices=CPU)
    first, second = ((tmp_path / name / "w.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second
    other = TINY.model_copy(update={"seed": 1})
    prepare("vgg19", TEXTURES, other, width=2, output=tmp_path / "c" / "w.safetensors", devices=CPU)
    assert (tmp_path / "c" / "w.safetensors").read_bytes() != first


def test_photographs_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "walks"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(random.integers(0, 255, (50, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    prepared = prepare("vgg16", Source(folder, 5), TINY, width=2, output=tmp_path / "w.safetensors", devices=CPU)
    assert prepared.origin == (
        "vgg16 of width 2, without labels, learned in 6 steps of 2 crops of 32 pixels on 5 photographs of walks"
    )
    assert load_vgg("vgg16", prepared.path)[1].startswith(prepared.origin)
    with pytest.raises(ConfigError, match="at least 4 are required"):
        prepare("vgg16", Source(folder, 3), TINY, width=2, output=tmp_path / "few.safetensors", devices=CPU)


def test_reconstruction_terms_by_hand() -> None:
    learner = Reconstruction(vgg(), seed=0)
    x = images(2)
    terms = learner(x, torch.Generator())
    network = learner.network
    reconstructed = network(x)
    levels: dict[str, list[Tensor]] = {}

    def keep(name: str, feature: Tensor) -> Tensor:
        if name.startswith("encoder"):
            levels.setdefault(name, []).append(feature)
        return feature

    network.encode(x, keep)
    network.encode(reconstructed, keep)
    relative = [((b - a) ** 2).mean() / (a**2).mean() for a, b in levels.values()]
    assert len(relative) == 4
    torch.testing.assert_close(terms["pixel"], ((reconstructed - x) ** 2).mean())
    torch.testing.assert_close(terms["feature"], 0.1 * sum(relative) / 4)
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.decoder.parameters())
    assert all(p.grad is None for p in network.encoder.parameters())


def test_calibration_sets_the_scale_of_every_layer() -> None:
    learner = Reconstruction(vgg(width=8), seed=0)
    x = images(2)
    learner.calibrate(x)
    found: dict[str, float] = {}
    for name, layer in learner.network.decoder.items():
        layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: float(out.detach().std())}))
    result = learner.network(x)
    assert found.pop("conv1_1") == pytest.approx(0.1, rel=1e-3)
    assert all(value == pytest.approx(1, rel=1e-3) for value in found.values())
    assert abs(float(result.mean().detach()) - 0.5) < 0.3


def test_training_the_decoder_improves_the_reconstruction(tmp_path: Path) -> None:
    """Against the mean colour of each image, the best that a decoder without features could do."""
    weights = prepare("vgg16", TEXTURES, TINY, width=8, output=tmp_path / "v.safetensors", devices=CPU).path
    longer = TINY.model_copy(update={"steps": 60, "batch": 4})
    found = prepare(
        "wct_ain", Source(None, 24), longer, encoder=weights, output=tmp_path / "w.safetensors", devices=CPU
    )
    untrained = prepare(
        "wct_ain",
        Source(None, 24),
        longer.model_copy(update={"steps": 1}),
        encoder=weights,
        output=tmp_path / "u.safetensors",
        devices=CPU,
    )
    assert found.figures["psnr"] > untrained.figures["psnr"] + 5


def test_psnr_by_hand(tmp_path: Path) -> None:
    network = write_untrained_wavelet(tmp_path / "w.safetensors")
    x = images(2, side=37)
    with torch.no_grad():
        errors = [float(((network(i[None, :, :32, :32]).clamp(0, 1) - i[:, :32, :32]) ** 2).mean()) for i in x]
    expected = sum(10 * math.log10(1 / error) for error in errors) / 2
    assert mean_psnr(network, list(x)) == pytest.approx(expected, abs=1e-3)


def test_features_learn_both_things() -> None:
    """Images of four kinds of stripes: after some steps the terms on new corruption are lower than before."""
    angles = torch.arange(4) * torch.pi / 4
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    stripes = torch.stack([(torch.sin((x * a.cos() + y * a.sin()) * (0.5 + i)) + 1) / 2 for i, a in enumerate(angles)])
    content = list(stripes[:, None].expand(-1, 3, -1, -1))
    config = PretrainConfig(steps=60, batch=4, size=32, learning_rate=3e-3)
    learner = Features("vgg16", 4, seed=0)
    batch = torch.stack(content)[..., :32, :32]
    before = learner.measure([batch])
    optimizer = torch.optim.Adam(learner.parameters(), lr=config.learning_rate)
    for step in range(config.steps):
        optimizer.zero_grad()
        sum(learner(draw(content, config, step), torch.Generator().manual_seed(step)).values()).backward()
        optimizer.step()
    after = learner.measure([batch])
    assert after["restore"] < 0.7 * before["restore"]
    assert after["style"] < 0.7 * before["style"]
    assert all(p.grad is not None for p in learner.parameters())


def test_style_loss_by_hand() -> None:
    """Two features whose statistics differ only in the mean: centered they point in opposite directions."""
    feature = torch.stack([torch.zeros(1, 4, 8), torch.ones(1, 4, 8)])
    expected = math.log(1 + math.exp(-2 / 0.1))
    assert float(style_loss(feature)) == pytest.approx(expected, abs=1e-6)
    swapped = feature.clone()
    swapped[..., 4:] = 1 - swapped[..., 4:]
    assert float(style_loss(swapped)) == pytest.approx(20, abs=1e-3)


def test_which_encoder(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unshift prepare vgg16"):
        find_encoder(None)
    for name in ("vgg16", "vgg19"):
        prepare(name, TEXTURES, TINY.model_copy(update={"steps": 1}), width=2, devices=CPU)
        assert find_encoder(None)[0].name == name
        assert find_encoder(cache / f"{name}.safetensors")[0].name == name
    assert Reconstruction(find_encoder(None)[0], seed=0).network.counts == (2, 2, 4)
    write_untrained_wavelet(tmp_path / "w.safetensors")
    with pytest.raises(BundleError, match="is no VGG-16"):
        find_encoder(tmp_path / "w.safetensors")
