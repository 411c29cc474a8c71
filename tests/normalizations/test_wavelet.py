from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file
from torch.nn.functional import conv2d, conv_transpose2d

from unshift.errors import BundleError
from unshift.normalizations.wavelet import (
    DIVISOR,
    WaveletAutoencoder,
    from_state,
    haar_pool,
    haar_unpool,
    load_autoencoder,
    unchanged,
)
from untrained import write_untrained_wavelet

GENERATOR = torch.Generator().manual_seed(0)


def test_pooling_by_hand() -> None:
    """One 2 × 2 cell 1 2 / 3 5: sum, left to right, top to bottom, diagonal, each divided by 2."""
    ll, lh, hl, hh = haar_pool(torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]]))
    assert [float(band) for band in (ll, lh, hl, hh)] == [5.5, 1.5, 2.5, 0.5]


def test_each_unpooled_band_by_hand() -> None:
    two = torch.tensor([[[[2.0]]]])
    unpooled = [band[0, 0].tolist() for band in haar_unpool((two, two, two, two))]
    assert unpooled == [[[1, 1], [1, 1]], [[-1, 1], [-1, 1]], [[-1, -1], [1, 1]], [[1, -1], [-1, 1]]]


@settings(deadline=None)
@given(arrays(np.float32, (1, 2, 6, 4), elements=st.floats(-100, 100, width=32)))
def test_the_sum_of_unpooled_bands_is_what_was_pooled(values: np.ndarray) -> None:
    x = torch.from_numpy(values)
    torch.testing.assert_close(sum(haar_unpool(haar_pool(x))), x, atol=1e-4, rtol=0)


@settings(deadline=None)
@given(arrays(np.float32, (1, 2, 6, 4), elements=st.floats(-100, 100, width=32)))
def test_pooling_keeps_energy(values: np.ndarray) -> None:
    x = torch.from_numpy(values).double()
    torch.testing.assert_close(sum(band.square().sum() for band in haar_pool(x)), x.square().sum())


def test_pooling_equals_the_published_filters_as_convolutions() -> None:
    x = torch.rand(2, 3, 8, 12, generator=GENERATOR)
    low, high = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([-1.0, 1.0]) / 2**0.5
    bands = haar_pool(x)
    unpooled = haar_unpool(bands)
    for band, up, (vertical, horizontal) in zip(
        bands, unpooled, [(low, low), (low, high), (high, low), (high, high)], strict=True
    ):
        kernel = torch.outer(vertical, horizontal).expand(3, 1, 2, 2)
        torch.testing.assert_close(band, conv2d(x, kernel, stride=2, groups=3))
        torch.testing.assert_close(up, conv_transpose2d(band, kernel, stride=2, groups=3))


def published_count(third: int) -> int:
    """Parameters of the cat5 network by its layers' widths: (inputs, outputs) of each 3 × 3 convolution."""
    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * (third - 1), (256, 512)]
    decoder = [(512, 256), (1280, 256), *[(256, 256)] * (third - 2), (256, 128), (640, 128), (128, 64), (320, 64)]
    return sum(9 * inputs * outputs + outputs for inputs, outputs in [*encoder, *decoder, (64, 3)])


def test_parameters() -> None:
    """10.1 M; DINSeg's Table 3 says 10.66 M, which no count of these layers gives."""
    with torch.device("meta"):
        nineteen, sixteen = WaveletAutoencoder(third=4), WaveletAutoencoder(third=3)
    assert sum(p.numel() for p in nineteen.parameters()) == published_count(4) == 10_107_523
    assert sum(p.numel() for p in sixteen.parameters()) == published_count(3)


@pytest.mark.parametrize("option", ["sum", "cat5"])
def test_the_visitor_sees_levels_in_order_and_replaces_what_goes_on(option: str, tmp_path: Path) -> None:
    network = write_untrained_wavelet(tmp_path / "w.safetensors", (8, 9, 10, 11), option=option)
    images = torch.rand(1, 3, 32, 48, generator=GENERATOR)
    shapes: dict[str, tuple[int, ...]] = {}

    def look(name: str, feature: torch.Tensor) -> torch.Tensor:
        shapes[name] = tuple(feature.shape[1:])
        return feature

    with torch.no_grad():
        plain = network(images, unchanged)
        assert torch.equal(network(images, look), plain)
        for name in shapes:
            changed = network(images, lambda at, feature, name=name: feature + (at == name))
            assert not torch.equal(changed, plain), name
    assert plain.shape == images.shape
    sizes = {1: (8, 32, 48), 2: (9, 16, 24), 3: (10, 8, 12), 4: (11, 4, 6)}
    assert {level: shapes[f"encoder_{level}"] for level in sizes} == sizes
    assert {level: shapes[f"decoder_{level}"] for level in sizes} == sizes
    assert shapes["skip_1_lh"] == (8, 16, 24)
    assert shapes["skip_3_hh"] == (10, 4, 6)
    assert [name for name in shapes if name.startswith("decoder")] == [f"decoder_{n}" for n in (4, 3, 2, 1)]


def test_sum_decoder_undoes_the_encoder_exactly_when_its_convolutions_do() -> None:
    """With every convolution a shifted identity on non-negative features, only pooling and unpooling are left."""
    network = WaveletAutoencoder((3, 3, 3, 3), third=3, option="sum", mean=(0, 0, 0), deviation=(1, 1, 1))
    with torch.no_grad():
        for convolution in (*network.encoder.values(), *network.decoder.values()):
            torch.nn.init.dirac_(convolution.weight)
            torch.nn.init.zeros_(convolution.bias)
        images = torch.rand(2, 3, 32, 32, generator=GENERATOR)
        torch.testing.assert_close(network(images), images)


def test_smallest_image(tmp_path: Path) -> None:
    network = write_untrained_wavelet(tmp_path / "w.safetensors")
    with torch.no_grad():
        assert network(torch.rand(1, 3, DIVISOR, DIVISOR)).isfinite().all()


@pytest.mark.parametrize("option", ["sum", "cat5"])
@pytest.mark.parametrize("third", [3, 4])
def test_a_file_says_what_it_holds(option: str, third: int, tmp_path: Path) -> None:
    written = write_untrained_wavelet(tmp_path / "w.safetensors", third=third, option=option)
    read, origin = load_autoencoder(tmp_path / "w.safetensors")
    assert origin == "random numbers"
    assert (read.option, read.counts) == (option, (2, 2, third))
    assert all(torch.equal(value, written.state_dict()[name]) for name, value in read.state_dict().items())


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(BundleError, match="unshift prepare wct_ain"):
        load_autoencoder(path)
    path.write_bytes(b"nothing")
    with pytest.raises(BundleError, match="no file of weights"):
        load_autoencoder(path)
    state = write_untrained_wavelet(tmp_path / "w.safetensors").state_dict()
    del state["decoder.conv2_1.bias"]
    with pytest.raises(BundleError, match=r"1 missing: decoder\.conv2_1\.bias"):
        from_state(state, where="here")
