"""The network's deepest tap by hand; slices of volumes; nothing of the network changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unshift.config import MemberRef
from unshift.embeddings.segmenter import Segmenter
from unshift.errors import ConfigError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.sample import Task
from untrained import untrained_network


def test_it_is_the_mean_of_the_deepest_tap_at_the_input_size() -> None:
    network = untrained_network(3)
    embedding = Segmenter(Segmenter.Config(), network, (32, 32))
    image = torch.rand(1, 3, 50, 70)
    small = F.interpolate(image, (32, 32), mode="bilinear", antialias=True)
    expected = network.encode(small)[-1].mean((2, 3))
    torch.testing.assert_close(embedding(image), expected / expected.norm(), atol=1e-6, rtol=1e-5)
    assert embedding.state_dict() == {} and not list(embedding.parameters())


def test_the_mode_of_the_network_and_its_statistics_stay() -> None:
    network = untrained_network(3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    embedding = Segmenter(Segmenter.Config(), network, (32, 32))
    first = embedding(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert network.training and all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    network.eval()
    assert torch.equal(embedding(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))), first)


def test_of_a_volume_the_slices_inside_are_averaged() -> None:
    task = Task(1, ("background", "organ"), spatial_dims=3)
    reference = MemberRef.model_validate({"name": "unet", "widths": [4, 16]})
    network = build_network(reference, task, InputConfig(size=(32, 32), neighbours=1)).eval()
    embedding = Segmenter(Segmenter.Config(), network, (32, 32))
    volume = torch.rand(1, 1, 11, 32, 32)
    inside = torch.ones(1, 11, 32, 32, dtype=torch.bool)
    inside[0, 9:] = False
    vectors = []
    for index in range(9):
        stacked = volume[0, 0, [max(index - 1, 0), index, index + 1]]
        vector = network.encode(stacked[None])[-1].mean((2, 3))[0]
        vectors.append(vector / vector.norm())
    expected = torch.stack(vectors).mean(0)
    torch.testing.assert_close(embedding(volume, inside)[0], expected / expected.norm(), atol=1e-5, rtol=1e-4)


def test_what_it_cannot_take() -> None:
    with pytest.raises(ConfigError, match="no trained network is at hand"):
        Segmenter(Segmenter.Config())
    with pytest.raises(ShapeMismatch, match="pictures or volumes"):
        Segmenter(Segmenter.Config(), untrained_network(3), (32, 32))(torch.rand(1, 3, 32))
