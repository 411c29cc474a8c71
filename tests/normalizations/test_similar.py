"""The most similar source images: against plain cosines, without the flawed, and back from a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unshift.errors import BundleError
from unshift.normalizations.bank import Bank, Entry
from unshift.normalizations.similar import Similar

FLAWED = (3, 7, 8)


def bank(count: int = 20) -> Bank:
    vectors = normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    entries = [
        Entry(
            f"a/{i:02d}", f"p{i}", "constant" if i in FLAWED else "", v, torch.ones(512), {"lab": torch.full((9,), i)}
        )
        for i, v in enumerate(vectors)
    ]
    return Bank.of(entries, {"model": "x"})


@pytest.fixture
def similar() -> Similar:
    return Similar.of(bank(), "lab", is_approximate=False)


def test_the_nearest_that_is_not_flawed_comes_first(similar: Similar) -> None:
    for row in range(20):
        query = similar.embeddings[row : row + 1]
        cosines = similar.embeddings.double() @ query[0].double()
        cosines[list(FLAWED)] = -2
        expected = cosines.argsort(descending=True)[:4].tolist()
        found = similar.nearest(query, 4)
        assert [chosen.name for chosen, _ in found] == [f"a/{i:02d}" for i in expected]
        assert [float(chosen.statistics[0]) for chosen, _ in found] == expected
        torch.testing.assert_close(torch.tensor([c for _, c in found]), cosines[expected].float())
    assert len(similar.nearest(query, 9999)) == 20 - len(FLAWED)


def test_what_is_usual_is_said_of_the_nearest(similar: Similar) -> None:
    query = -similar.embeddings.mean(0, keepdim=True)
    unlike = replace(similar, usual=torch.tensor(0.999, dtype=torch.float64)).nearest(normalize(query), 2)
    assert all("no similar source image: cosine" in chosen.warning for chosen, _ in unlike)
    assert not any(chosen.warning for chosen, _ in similar.nearest(similar.embeddings[:1], 17))


def test_a_state_brings_it_back(similar: Similar) -> None:
    state, texts = similar.tensors(), similar.texts()
    assert state.keys() == Similar.keys(texts, is_approximate=False)
    assert Similar.keys({}, is_approximate=True) == set()
    with pytest.raises(BundleError, match=r"lacks \['flawed'\]"):
        Similar.load(state, {name: value for name, value in texts.items() if name != "flawed"})
    again = Similar.load(state, texts)
    query = similar.embeddings[5:6]
    assert [c for _, c in again.nearest(query, 3)] == [c for _, c in similar.nearest(query, 3)]
    assert (again.names, again.flawed, again.fingerprint) == (similar.names, FLAWED, {"model": "x"})


def test_an_index_that_finds_flawed_ones_alone_is_not_believed(similar: Similar) -> None:
    class Poor:
        def search(self, query: Tensor, rows: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
            return torch.ones(2), torch.tensor(FLAWED[:2])

    query = similar.embeddings[5:6]
    found = replace(similar, index=cast(Any, Poor())).nearest(query, 1)
    assert found[0][0].name == "a/05"
