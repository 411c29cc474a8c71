"""What every embedding promises, checked on all that are there without their published weights."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from unshift.discover import load, names, summary
from unshift.embedding import Embedding
from untrained import untrained_network

NEEDS_TIMM = {"timm": {"model": "resnet10t"}}
NAMES = [pytest.param(n, marks=[pytest.mark.timm] if n in NEEDS_TIMM else []) for n in names("embeddings")]


def new(name: str, seed: int = 0) -> Embedding:
    member = load("embeddings", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return member(member.Config(**NEEDS_TIMM.get(name, {})), untrained_network(3, seed=seed), (32, 32))


@pytest.mark.parametrize("name", NAMES)
def test_unit_vectors_that_do_not_depend_on_the_batch(name: str) -> None:
    embedding, images = new(name), torch.rand(3, 3, 40, 56)
    inside = torch.rand(3, 40, 56) > 0.3
    vectors = embedding(images, inside)
    assert vectors.dtype == torch.float32 and not vectors.requires_grad
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    for index in range(3):
        one = embedding(images[index : index + 1], inside[index : index + 1])
        torch.testing.assert_close(one[0], vectors[index], atol=1e-5, rtol=1e-4)
    assert torch.equal(embedding.train()(images, inside), vectors)


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_knows_the_weights_and_the_state_carries_them(name: str) -> None:
    first, other = new(name), new(name, seed=1)
    assert {"model", "weights", "size"} <= set(first.fingerprint)
    assert all(isinstance(value, str) for value in first.fingerprint.values())
    assert first.fingerprint == new(name).fingerprint != other.fingerprint
    if first.state_dict():
        again = new(name, seed=2)
        again.load_state_dict(first.state_dict())
        assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize("name", names("embeddings"))
def test_it_says_in_one_sentence_what_it_is(name: str) -> None:
    assert 20 < len(summary("embeddings", name)) < 160 and summary("embeddings", name).endswith(".")
    assert importlib.util.find_spec(f"unshift.embeddings.{name}") is not None
