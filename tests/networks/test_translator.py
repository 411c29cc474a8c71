from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.errors import ShapeMismatch
from unshift.networks.translator import Translator, TranslatorConfig, adain

SMALL = TranslatorConfig(width=4, blocks=1, style_depth=3)


def build(channels: int = 1, config: TranslatorConfig = SMALL) -> Translator:
    torch.manual_seed(0)
    return Translator(config, channels)


def images(count: int = 2, channels: int = 1, height: int = 32, width: int = 24, seed: int = 0) -> Tensor:
    return 2 * torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)) - 1


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_authors_size_by_hand(channels: int) -> None:
    translator = Translator(TranslatorConfig(), channels)
    norms = 2 * (32 + 64 + 128)
    block = 2 * 2 * 128 + 128 * 128 * 9 + (128 * 128 * 9 + 128)
    content = 49 * channels * 32 + 16 * 32 * 64 + 16 * 64 * 128 + norms + 4 * block
    style = 49 * channels * 32 + 16 * (32 * 64 + 64 * 128 + 3 * 128 * 128) + 2 * (32 + 64 + 4 * 128) + 128 * 8 + 8
    styled = 8 * 128 + 128 + 64 + 32
    perceptron = (8 * 128 + 128) + (128 * 256 + 256) + (256 * 2 * styled + 2 * styled)
    convolutions = 4 * (2 * 128 * 128 * 9 + 128) + 25 * 128 * 64 + 25 * 64 * 32
    decoder = perceptron + convolutions + 49 * 32 * channels + channels
    assert parameters(translator.content) == content
    assert parameters(translator.style["source"]) == parameters(translator.style["target"]) == style
    assert parameters(translator.decoder) == decoder
    assert parameters(translator) == content + 2 * style + decoder
    assert parameters(translator) == {1: 5_369_617, 3: 5_382_163}[channels]


def test_adain_is_that_of_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    features = 3 * torch.randn(2, 4, 5, 6, generator=generator) + 1
    scale, shift = torch.randn(2, 2, 4, generator=generator)
    x = features.double().numpy()
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-5)
    expected = expected * (1 + scale.numpy()[..., None, None]) + shift.numpy()[..., None, None]
    np.testing.assert_allclose(adain(features, scale, shift).numpy(), expected, atol=1e-5)
    last = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(adain(last, scale, shift), adain(features, scale, shift))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_any_channels_keep_their_shape(channels: int) -> None:
    translator, x = build(channels), images(channels=channels)
    content, code = translator.content(x), translator.style["target"](x)
    assert content.shape == (2, 16, 8, 6) and code.shape == (2, 8)
    translated = translator(x, code)
    assert translated.shape == x.shape and float(translated.detach().abs().max()) <= 1


def test_the_style_reaches_the_image_and_other_images_do_not() -> None:
    translator, x = build().double(), images().double()
    code = translator.style["target"](images(seed=1).double())
    together = translator(x, code)
    alone = torch.cat([translator(x[i : i + 1], code[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together, translator(x, code.flip(0)))


def test_a_cycle_is_its_steps_one_by_one() -> None:
    translator = build().double()
    a, b = images().double(), images(seed=1).double()
    first, second = translator.cycle(a, b)
    c_a, c_b = translator.content(a), translator.content(b)
    s_a, s_b = translator.style["source"](a), translator.style["target"](b)
    ab, ba = translator.decode(c_a, s_b), translator.decode(c_b, s_a)
    again_a, again_b = translator.content(ab), translator.content(ba)
    expected = {
        "image": (a, b),
        "content": (c_a, c_b),
        "style": (s_a, s_b),
        "reconstructed": (translator.decode(c_a, s_a), translator.decode(c_b, s_b)),
        "translated": (ab, ba),
        "content_again": (again_a, again_b),
        "style_again": (translator.style["source"](ba), translator.style["target"](ab)),
        "cycled": (translator.decode(again_a, s_a), translator.decode(again_b, s_b)),
    }
    assert set(expected) == set(vars(first))
    for name, (own, other) in expected.items():
        torch.testing.assert_close(getattr(first, name), own, msg=name)
        torch.testing.assert_close(getattr(second, name), other, msg=name)
    for mine, other in zip(translator.exchange(a, b), (ab, ba, c_a, c_b), strict=True):
        torch.testing.assert_close(mine, other)


def test_in_bfloat16_it_stays_close() -> None:
    translator, x = build(), images()
    with torch.no_grad():
        exact = translator(x, translator.style["source"](x))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = translator(x, translator.style["source"](x))
    assert float((mixed.float() - exact).abs().mean()) < 0.05


def test_what_is_wrong_is_named() -> None:
    translator, code = build(), torch.zeros(2, 8)
    with pytest.raises(ShapeMismatch, match="5 axes.*slice by slice"):
        translator(torch.zeros(2, 1, 8, 32, 32), code)
    with pytest.raises(ShapeMismatch, match=r"3 channel\(s\); it was built for 1"):
        translator(images(channels=3), code)
    with pytest.raises(ShapeMismatch, match="32×26; sides must be multiples of 4"):
        translator(images(width=26), code)
    with pytest.raises(ShapeMismatch, match="at least 16"):
        translator(images(height=12), code)
    translator(images(height=16, width=16), code)
    with pytest.raises(ShapeMismatch, match="taken in pairs"):
        translator.cycle(images(2), images(1))
