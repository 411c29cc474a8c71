"""The approximate index finds what the exact search finds, most of the time, and says when it is not there."""

from __future__ import annotations

import importlib

import pytest
import torch

from unshift.errors import BundleError, MissingDependency
from unshift.normalizations.approximate import ApproximateIndex, recall
from unshift.normalizations.dcin import Dcin
from unshift.normalizations.nearest import nearest
from unshift.sample import Sample
from untrained import untrained_network


def clusters(count: int, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(count // 10, size, generator=generator).repeat_interleave(10, 0)
    noise = torch.randn(count, size, generator=generator)
    return torch.nn.functional.normalize(centers + 0.4 * noise, dim=1)


def test_recall_and_exact_cosines() -> None:
    rows = clusters(5000)
    index = ApproximateIndex.build(rows)
    queries = torch.nn.functional.normalize(
        rows[::50] + 0.05 * torch.randn(100, 32, generator=torch.Generator().manual_seed(2)), dim=1
    )
    assert recall(index, queries, rows) >= 0.9
    cosines, indices = index.search(rows[7], rows, count=3)
    exact, expected = nearest(rows[7:8], rows, count=3)
    assert indices.tolist() == expected[0].tolist() and cosines.tolist() == pytest.approx(exact[0].tolist(), abs=1e-12)


def test_it_survives_as_bytes() -> None:
    rows = clusters(600)
    index = ApproximateIndex.build(rows)
    again = ApproximateIndex.from_bytes(index.to_bytes())
    for query in rows[::37]:
        assert torch.equal(index.search(query, rows)[1], again.search(query, rows)[1])
    with pytest.raises(BundleError, match="damaged"):
        ApproximateIndex.from_bytes(torch.zeros(40, dtype=torch.uint8))


def test_recall_counts_what_is_missed() -> None:
    rows = clusters(600)
    other = ApproximateIndex.build(rows.flip(0))
    assert recall(other, rows[:20], rows) < 0.2


def test_dcin_keeps_the_index_in_its_state() -> None:
    samples = [
        Sample(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i)) * 0.5 + i / 200, f"c{i}", f"p{i}", "d")
        for i in range(60)
    ]
    method = Dcin(Dcin.Config(references=("local",), search="approximate"))
    method.bind(untrained_network(3), (32, 32))
    state = method.fit(samples).state_dict()
    again = Dcin(method.config)
    again.load_state_dict(state)
    again.bind(untrained_network(3), (32, 32))
    for sample in samples[::10]:
        [view], [other] = method.views(sample), again.views(sample)
        assert view.reference == other.reference and view.reference is not None
        assert view.reference.likeness is not None and view.reference.likeness > 0.99


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependency, match=r"pip install 'unshift\[index\]'"):
        ApproximateIndex.build(clusters(600))
