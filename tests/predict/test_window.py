from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.errors import ConfigError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.predict.settings import PredictConfig
from unshift.predict.window import check_size, pad_to, predict_image, resized, slide


def identity(images: torch.Tensor) -> torch.Tensor:
    return images


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
    blend=st.sampled_from(["gaussian", "constant"]),
    padding=st.sampled_from(["reflect", "constant"]),
)
def test_the_identity_slides_to_the_image_itself(
    height: int, width: int, overlap: float, blend: str, padding: str
) -> None:
    images = noise(2, 3, height, width)
    config = PredictConfig(overlap=overlap, blend=blend, padding=padding)
    torch.testing.assert_close(slide(images, identity, size=(16, 12), config=config), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("space", [(1, 1, 1), (5, 17, 9), (20, 8, 13)])
def test_the_identity_slides_through_volumes(space: tuple[int, ...]) -> None:
    images = noise(1, 2, *space)
    found = slide(images, identity, size=(8, 8, 8), config=PredictConfig())
    torch.testing.assert_close(found, images, atol=1e-5, rtol=0)


def test_every_window_has_the_networks_size() -> None:
    seen = set()

    def record(images: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(images.shape[2:]))
        return images

    for space in ((3, 50), (16, 12), (17, 13)):
        slide(noise(1, 1, *space), record, size=(16, 12), config=PredictConfig(batch_size=3))
    assert seen == {(16, 12)}


@pytest.mark.parametrize("length", [1, 2, 3, 7, 12])
def test_reflection_is_numpys_also_many_times_over(length: int) -> None:
    image = noise(1, 1, length, 4)
    padded = pad_to(image, (25, 4))
    before = (25 - length) // 2
    expected = np.pad(image[0, 0].numpy(), ((before, 25 - length - before), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(padded[0, 0].numpy(), expected)


def test_constant_padding_and_large_images() -> None:
    image = noise(1, 1, 3, 30)
    padded = pad_to(image, (8, 8), constant=True)
    assert padded.shape == (1, 1, 8, 30)
    assert torch.equal(padded[:, :, 2:5], image) and float(padded[:, :, [0, 1, 5, 6, 7]].abs().max()) == 0
    assert pad_to(noise(1, 1, 9, 9), (8, 8)).shape == (1, 1, 9, 9)


@pytest.mark.parametrize("space", [(7, 31), (64, 40), (5, 9, 6)])
def test_resizing_keeps_a_constant_and_the_sum(space: tuple[int, ...]) -> None:
    images, size = torch.full((2, 3, *space), 0.25), (16,) * len(space)
    torch.testing.assert_close(resized(images, identity, size), images)
    found = resized(noise(2, 3, *space), lambda x: x.softmax(1), size)
    torch.testing.assert_close(found.sum(1), torch.ones(2, *space))


def test_resizing_to_the_same_size_is_bit_identical() -> None:
    images = noise(2, 3, 16, 16)
    assert torch.equal(resized(images, identity, (16, 16)), images)


def test_slices_of_a_volume_with_their_neighbours() -> None:
    """A network that returns the middle channel, then one that returns the slice above."""
    volume = noise(1, 7, 8, 8)
    size_config = InputConfig(mode="window", size=(8, 8), neighbours=1)
    config = PredictConfig(batch_size=3)
    middle = predict_image(volume, lambda x: x[:, 1:2], size_config=size_config, config=config)
    above = predict_image(volume, lambda x: x[:, 0:1], size_config=size_config, config=config)
    torch.testing.assert_close(middle, volume)
    torch.testing.assert_close(above[:, 1:], volume[:, :-1])
    torch.testing.assert_close(above[:, 0], volume[:, 0])


@pytest.mark.parametrize("mode", ["resize", "window"])
def test_a_volume_by_slices_is_its_slices(mode: str) -> None:
    volume, size_config = noise(2, 5, 20, 11), InputConfig(mode=mode, size=(16, 8))
    whole = predict_image(volume, identity, size_config=size_config, config=PredictConfig(batch_size=2))
    for index in range(5):
        one = predict_image(volume[:, index], identity, size_config=size_config, config=PredictConfig())
        torch.testing.assert_close(whole[:, index], one)


@pytest.mark.parametrize(
    ("shape", "size", "neighbours"), [((1, 8, 8), (8, 8, 8), 0), ((1, 8, 8), (8, 8), 1), ((1, 8), (8, 8), 0)]
)
def test_axes_that_do_not_fit(shape: tuple[int, ...], size: tuple[int, ...], neighbours: int) -> None:
    with pytest.raises(ShapeMismatch, match=r"input.size is .*Change input.size"):
        predict_image(
            torch.zeros(shape),
            identity,
            size_config=InputConfig(size=size, neighbours=neighbours),
            config=PredictConfig(),
        )


def test_sizes_that_the_network_cannot_take() -> None:
    check_size((256, 512), 32)
    with pytest.raises(ConfigError, match=r"input.size: \[250, 7\].*multiples of 16.*nearest size is \[256, 16\]"):
        check_size((250, 7), 16)
