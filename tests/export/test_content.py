"""A bundle's numbers stay on the disk where it is a folder, and are read where it is a zip."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save

from unshift.errors import BundleError
from unshift.export.content import tensors, verified

STATE = {"embeddings": torch.arange(3000, dtype=torch.float32).reshape(1000, 3), "names": torch.arange(7)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    path.write_bytes(save(STATE))
    return path


def mapped_from(tensor: torch.Tensor) -> str:
    """The file at whose mapping a tensor's numbers lie; empty where it is memory of the process's own."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        first, last = (int(address, 16) for address in line.split()[0].split("-"))
        if first <= tensor.data_ptr() < last:
            return line[line.index("/") :] if "/" in line else ""
    raise AssertionError("the tensor lies in no mapping")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_a_folders_tensors_are_mapped_and_a_zips_are_read(file: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(file, file.name)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        read = tensors(verified(cast(Path, zipfile.Path(archive) / file.name), digest), "b.zip")
    mapped = tensors(verified(file, digest), "b")
    for found, place in ((read, ""), (mapped, str(file))):
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[name], STATE[name]) for name in STATE)
        assert mapped_from(found["embeddings"]) == place


def test_mapped_tensors_survive_the_file_and_do_not_write_to_it(file: Path) -> None:
    before = file.read_bytes()
    mapped = tensors(verified(file, hashlib.sha256(before).hexdigest()), "b")
    mapped["names"].zero_()
    assert file.read_bytes() == before
    file.unlink()
    assert torch.equal(mapped["embeddings"], STATE["embeddings"])


def test_a_changed_file_and_one_that_is_no_safetensors_are_refused(file: Path) -> None:
    with pytest.raises(BundleError, match=r"state\.safetensors: SHA-256 is .* says 000000000000…"):
        verified(file, "0" * 64)
    file.write_bytes(b"nothing")
    with pytest.raises(BundleError, match="b/state: no safetensors"):
        tensors(verified(file, hashlib.sha256(b"nothing").hexdigest()), "b/state")
