"""A bank is the same however it was built, holds no pixel, and refuses other embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from unshift.embeddings.segmenter import Segmenter
from unshift.errors import BundleError, ConfigError, DataError
from unshift.normalizations.bank import Bank, Entry, from_bytes, require_fingerprint, to_bytes
from unshift.normalizations.references import describe
from unshift.sample import Sample
from untrained import untrained_network

PRINT = {"model": "m", "weights": "w", "size": "8"}


def entry(number: int, flaw: str = "") -> Entry:
    generator = torch.Generator().manual_seed(number)
    histogram = torch.rand(512, generator=generator)
    return Entry(
        f"d/{number:03}",
        f"d/p{number % 3}",
        flaw,
        torch.nn.functional.normalize(torch.randn(6, generator=generator), dim=0),
        histogram / histogram.sum(),
        {"lab": torch.randn(9, generator=generator)},
        digest=f"{number:064x}",
    )


def saved(bank: Bank, folder: Path) -> bytes:
    path = folder / "bank.safetensors"
    bank.save(path)
    return path.read_bytes()


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(9)), cut=st.integers(1, 8))
def test_order_and_extension_change_nothing(
    order: list[int], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bank")
    at_once = saved(Bank.of(map(entry, range(9)), PRINT), folder)
    parts = [Bank.of(map(entry, part), PRINT) for part in (order[:cut], order[cut:])]
    assert saved(parts[0].joined(parts[1]), folder) == at_once


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    bank = Bank.of([entry(2, "constant"), entry(0), entry(1)], PRINT)
    saved(bank, tmp_path)
    found = Bank.load(tmp_path / "bank.safetensors")
    assert (found.names, found.patients) == (("d/000", "d/001", "d/002"), ("d/p0", "d/p1", "d/p2"))
    assert (found.flaws, found.digests, dict(found.fingerprint)) == (bank.flaws, bank.digests, PRINT)
    assert torch.equal(found.embeddings, bank.embeddings) and torch.equal(found.histograms, bank.histograms)
    assert torch.equal(found.statistics["lab"], bank.statistics["lab"])
    assert found.allowed.tolist() == [True, True, False]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("side", [32, 96])
def test_no_tensor_grows_with_the_images(side: int, tmp_path: Path) -> None:
    """Three tensors of 4 images, whatever their size: nothing in the file has as many numbers as an image has pixels."""
    embedding = Segmenter(Segmenter.Config(), untrained_network(3), (32, 32))
    samples = [Sample(torch.rand(3, side, side), f"c{i}", f"p{i}", "d") for i in range(4)]
    bank = Bank.of([describe(s, ["lab", "reinhard"], embedding) for s in samples], PRINT)
    saved(bank, tmp_path)
    with safe_open(tmp_path / "bank.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118
        texts = from_bytes(file.get_tensor("texts"))
    texts_size = shapes.pop("texts")[0]
    assert shapes == {
        "embeddings": (4, 16),
        "histograms": (4, 512),
        "statistics.lab": (4, 9),
        "statistics.reinhard": (4, 9),
    }
    assert set(texts) == {"fingerprint", "names", "patients", "flaws", "digests"} and texts_size < 300


def test_other_parts_are_refused() -> None:
    bank = Bank.of([entry(0), entry(1)], PRINT)
    with pytest.raises(BundleError, match=r"weights: other there, w here"):
        bank.joined(Bank.of([entry(2)], PRINT | {"weights": "other"}))
    with pytest.raises(DataError, match="'d/001'; each must be one image's"):
        bank.joined(Bank.of([entry(1)], PRINT))
    other = Bank(**{**vars(Bank.of([entry(2)], PRINT)), "statistics": {"sliced": torch.zeros(1, 3)}})
    with pytest.raises(BundleError, match="statistics of sliced"):
        bank.joined(other)
    with pytest.raises(BundleError, match=r"preprocessing: nothing there, zscore here"):
        require_fingerprint(PRINT, PRINT | {"preprocessing": "zscore"}, what="bank")


def test_what_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one"):
        Bank.of([], PRINT)
    with pytest.raises(DataError, match="all 1 source images are constant"):
        _ = Bank.of([entry(0, "constant")], PRINT).allowed
    with pytest.raises(ConfigError, match="no such bank"):
        Bank.load(tmp_path / "none")
    (tmp_path / "cut").write_bytes(saved(Bank.of([entry(0)], PRINT), tmp_path)[:-40])
    with pytest.raises(BundleError, match="Build it again"):
        Bank.load(tmp_path / "cut")


def test_plain_data_as_bytes() -> None:
    assert from_bytes(to_bytes({"name": "Größe"})) == {"name": "Größe"}
