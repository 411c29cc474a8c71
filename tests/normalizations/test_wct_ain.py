from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unshift.errors import BundleError, ConfigError, DataError
from unshift.normalizations.wavelet import WaveletAutoencoder, save_autoencoder
from unshift.normalizations.wct_ain import EPSILON, MEMBER, WctAin, mirrored
from unshift.sample import Sample
from untrained import write_untrained_wavelet

GENERATOR = torch.Generator().manual_seed(3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    write_untrained_wavelet(path)
    return path


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose convolutions do nothing to non-negative features: it reconstructs exactly."""
    network = WaveletAutoencoder((3, 3, 3, 3), third=3, option="sum", mean=(0, 0, 0), deviation=(1, 1, 1))
    for convolution in (*network.encoder.values(), *network.decoder.values()):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    path = tmp_path_factory.mktemp("exact") / "w.safetensors"
    save_autoencoder(path, network, origin="identity")
    return path


def sample(*shape: int, fov: torch.Tensor | None = None, scale: float = 1.0, seed: int = 0) -> Sample:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * scale
    return Sample(image, f"case {seed}", "p", "x", field_of_view=fov)


def fitted(weights: Path, *source: Sample, **settings: Any) -> WctAin:
    return MEMBER(MEMBER.Config(weights=weights, **settings)).fit(source or [sample(3, 32, 48, seed=9)])


def reference(network: WaveletAutoencoder, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The published order of steps on whole images, features recorded from the style's own way through the network."""
    recorded: dict[str, torch.Tensor] = {}

    def record(name: str, feature: torch.Tensor) -> torch.Tensor:
        recorded[name] = feature
        return feature

    def transfer(name: str, feature: torch.Tensor) -> torch.Tensor:
        if not name.startswith("decoder"):
            return feature
        to = recorded[name][0].flatten(1)
        flat = feature[0].flatten(1)
        normalized = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, correction=0, keepdim=True) + EPSILON)
        restyled = normalized * to.std(1, correction=0, keepdim=True) + to.mean(1, keepdim=True)
        return restyled.view_as(feature)

    with torch.no_grad():
        network(style[None], record)
        return network(content[None], transfer)[0]


def test_it_is_adain_at_the_decoders_levels(weights: Path, tmp_path: Path) -> None:
    network = write_untrained_wavelet(tmp_path / "w.safetensors")
    style, content = sample(3, 32, 48, seed=1), sample(3, 48, 32, seed=2, scale=0.4)
    [view] = fitted(weights, style).views(content)
    expected = reference(network, content.image, style.image).clamp(0, 1)
    torch.testing.assert_close(view.image, expected, atol=1e-4, rtol=1e-4)
    assert view.image.std() > 0.01  # not all clipped


def test_an_image_of_its_own_style_is_only_reconstructed(weights: Path, exact: Path) -> None:
    style = sample(3, 32, 48, seed=1)
    for file in (weights, exact):
        [own] = fitted(file, style).views(style)
        [reconstructed] = fitted(file, style, strength=0.0).views(style)
        torch.testing.assert_close(own.image, reconstructed.image, atol=2e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3, 32, 48), (3, 37, 51), (3, 5, 70), (3, 1, 9), (1, 33, 20), (2, 20, 20)])
def test_strength_zero_on_an_exact_network_gives_the_image_back_at_any_size(
    exact: Path, shape: tuple[int, ...]
) -> None:
    content = sample(*shape)
    [view] = fitted(exact, strength=0.0).views(content)
    torch.testing.assert_close(view.image, content.image, atol=1e-5, rtol=0)


def test_longer_images_keep_their_detail(exact: Path) -> None:
    content = sample(3, 96, 40)
    [view] = fitted(exact, strength=0.0, longest=32).views(content)
    torch.testing.assert_close(view.image, content.image, atol=1e-5, rtol=0)
    [restyled] = fitted(exact, sample(3, 32, 32, scale=0.5), longest=32).views(content)
    assert restyled.image.shape == content.image.shape
    assert abs(float(restyled.image.mean()) - 0.25) < 0.05


def test_gray_is_repeated_and_averaged(weights: Path) -> None:
    gray = sample(1, 32, 32)
    color = gray.replace(image=gray.image.expand(3, -1, -1))
    source = sample(1, 32, 48, seed=8)
    [one] = fitted(weights, source).views(gray)
    normalization = fitted(weights, source)
    [three] = normalization.views(color)
    # clipped after the mean in the one case and before it in the other
    agree = (three.image > 0).all(0) & (three.image < 1).all(0)
    torch.testing.assert_close(one.image[0][agree], three.image.mean(0)[agree], atol=1e-5, rtol=0)


def test_volumes_are_transferred_slice_by_slice(weights: Path) -> None:
    volume = sample(1, 3, 24, 20)
    normalization = fitted(weights, sample(1, 2, 32, 32, seed=4))
    [whole] = normalization.views(volume)
    for index in range(3):
        [one] = normalization.views(volume.replace(image=volume.image[:, index]))
        assert torch.equal(whole.image[:, index], one.image)


def test_values_outside_the_field_of_view_do_not_matter_and_become_zero(weights: Path) -> None:
    fov = torch.zeros(40, 40, dtype=torch.bool)
    fov[3:30, 5:33] = True
    content, style = sample(3, 40, 40, fov=fov), sample(3, 40, 40, fov=fov, seed=5)
    other = [
        s.replace(image=torch.where(fov, s.image, torch.rand(40, 40, generator=GENERATOR))) for s in (content, style)
    ]
    [first] = fitted(weights, style).views(content)
    [second] = fitted(weights, other[1]).views(other[0])
    assert torch.equal(first.image, second.image)
    assert not first.image[:, ~fov].any()


def test_statistics_count_only_what_is_inside(exact: Path) -> None:
    """8 dark and 4 bright columns inside; the first level's feature is the image, so its moments are those of the two."""
    image = torch.full((3, 32, 32), 0.2)
    image[:, :, 8:] = 0.8
    fov = torch.zeros(32, 32, dtype=torch.bool)
    fov[:, :12] = True
    style = Sample(image, "a", "a", "x", field_of_view=fov)
    state = fitted(exact, style, levels=("encoder",)).state_dict()
    deviation = (8 / 12 * 4 / 12) ** 0.5 * 0.6
    torch.testing.assert_close(state["style.encoder_1"], torch.tensor([[0.4] * 3, [deviation] * 3]))


def test_an_image_is_continued_by_mirroring() -> None:
    row = torch.tensor([[[9.0, 9.0, 1.0, 2.0, 9.0, 9.0, 9.0]]]).expand(1, 3, 7)
    mask = torch.tensor([False, False, True, True, False, False, False]).expand(3, 7)
    # each pixel mirrored at the nearest inside; where that mirror image lies outside too, the nearest inside itself
    assert mirrored(row, mask)[0, 1].tolist() == [1, 2, 1, 2, 1, 2, 2]
    assert mirrored(row, torch.ones_like(mask)) is row


def test_a_field_of_view_does_not_flatten_the_picture(weights: Path) -> None:
    """A disc seen by itself is restyled as the same pixels of a whole picture are, but for a rim."""
    whole = sample(3, 96, 96)
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    distance = (y - 48).square() + (x - 48).square()
    normalization = fitted(weights)
    [disc] = normalization.views(whole.replace(field_of_view=distance < 44**2))
    [plain] = normalization.views(whole)
    core = distance < 20**2
    assert torch.corrcoef(torch.stack([disc.image[:, core].flatten(), plain.image[:, core].flatten()]))[0, 1] > 0.95


def test_a_constant_image_becomes_the_styles_mean_color(exact: Path) -> None:
    style = sample(3, 32, 32, seed=1)
    [view] = fitted(exact, style).views(sample(3, 32, 32).replace(image=torch.full((3, 32, 32), 0.3)))
    expected = style.image.mean((1, 2)).view(3, 1, 1).expand(3, 32, 32)
    torch.testing.assert_close(view.image, expected, atol=1e-5, rtol=0)


def test_slices_without_field_of_view_stay_empty(weights: Path) -> None:
    fov = torch.ones(1, 3, 20, 20, dtype=torch.bool)[0]
    fov[1] = False
    [view] = fitted(weights).views(sample(1, 3, 20, 20, fov=fov))
    assert not view.image[:, 1].any()
    assert view.image[:, 0].any() and view.image.isfinite().all()


def test_other_units_go_to_the_sources_range(exact: Path) -> None:
    """Hounsfield-like source and a target in units a hundred times smaller: same range afterwards."""
    source = [sample(1, 32, 32, seed=s, scale=1000) for s in range(3)]
    [view] = fitted(exact, *source).views(sample(1, 32, 32, seed=7, scale=10).replace(case="t"))
    assert 900 < float(view.image.max()) < 1001
    assert -1 < float(view.image.min()) < 100
    with pytest.raises(DataError, match="Give both the same preprocessing"):
        fitted(exact).views(sample(3, 16, 16, scale=5))


def test_styles(weights: Path) -> None:
    sources = [sample(3, 16, 16, seed=s, scale=scale) for s, scale in enumerate((0.2, 0.5, 1.0))]
    singles = [fitted(weights, s).state_dict()["style.decoder_3"] for s in sources]
    styles = {
        s: fitted(weights, *sources, style=s).state_dict()["style.decoder_3"] for s in ("first", "mean", "medoid")
    }
    assert torch.equal(styles["first"], singles[0])
    torch.testing.assert_close(styles["mean"], torch.stack(singles).mean(0))
    assert torch.equal(styles["medoid"], singles[1])


def test_many_sources_are_thinned_evenly(weights: Path) -> None:
    sources = [sample(3, 16, 16, seed=s) for s in range(11)]
    few = fitted(weights, *sources, style_images=3).state_dict()
    same = fitted(weights, *(sources[i] for i in (0, 4, 8)), style_images=3).state_dict()
    assert all(torch.equal(few[name], same[name]) for name in few)


def test_levels_that_are_restyled(weights: Path) -> None:
    def names(*levels: str) -> set[str]:
        return {n[6:] for n in fitted(weights, levels=levels).state_dict() if n.startswith("style.")}

    decoder = {f"decoder_{n}" for n in (1, 2, 3, 4)}
    encoder = {f"encoder_{n}" for n in (1, 2, 3, 4)}
    assert names("decoder") == decoder
    assert names("encoder", "decoder") == encoder | decoder - {"decoder_4"}
    assert names("skip") == {f"skip_{n}_{band}" for n in (1, 2, 3) for band in ("lh", "hl", "hh")}


def test_state_needs_no_file_and_no_pixels(weights: Path) -> None:
    content = sample(3, 20, 30)
    normalization = fitted(weights)
    assert normalization.origin == "random numbers"
    state = normalization.state_dict()
    fresh = MEMBER(MEMBER.Config(weights=None))
    fresh.load_state_dict(state)
    assert torch.equal(fresh.views(content)[0].image, normalization.views(content)[0].image)
    for name, value in state.items():
        assert name.startswith("network.") or value.numel() <= 2 * 8, name
    with pytest.raises(BundleError, match="lacks"):
        MEMBER(MEMBER.Config(levels=("skip",))).load_state_dict(state)
    with pytest.raises(DataError, match="not fitted"):
        MEMBER(MEMBER.Config()).views(content)


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSHIFT_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="unshift prepare wct_ain --content FOLDER"):
        MEMBER(MEMBER.Config()).fit([sample(3, 16, 16)])
    assert MEMBER.files(MEMBER.Config()) == ()
    write_untrained_wavelet(tmp_path / "wct_ain.safetensors")
    assert MEMBER.files(MEMBER.Config()) == (tmp_path / "wct_ain.safetensors",)
    with pytest.raises(DataError, match="no source image"):
        MEMBER(MEMBER.Config()).fit([])
