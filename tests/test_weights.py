from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unshift.errors import BundleError
from unshift.weights import load_exactly, read_weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


@pytest.mark.parametrize("wrapping", [None, "state_dict", "model_state_dict", "model"])
def test_both_kinds_of_file_are_read(tmp_path: Path, wrapping: str | None) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    torch.save({wrapping: STATE, "epoch": 3} if wrapping else STATE, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        read = read_weights(tmp_path / name)
        assert read.keys() == STATE.keys()
        assert all(torch.equal(read[key], STATE[key]) for key in STATE)


class Dangerous:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Dangerous()}, tmp_path / "w.pth")
    with pytest.raises(BundleError, match=r"w\.pth: refers to print beside tensors, and reading it would run code"):
        read_weights(tmp_path / "w.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00."])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        read_weights(tmp_path / name) and load_exactly(nn.Linear(3, 2), read_weights(tmp_path / name), where=name)


@pytest.mark.filterwarnings("ignore")  # of damaged files torch warns of much
@pytest.mark.parametrize("is_zip", [True, False])
def test_files_with_wrong_bytes_are_read_or_refused_with_a_reason(tmp_path: Path, is_zip: bool) -> None:
    """Torch's reader fails in many ways on damaged files; none of them reaches the caller as it is."""
    path, random = tmp_path / "w.pth", np.random.default_rng(0)
    torch.save(STATE, path, _use_new_zipfile_serialization=is_zip)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        damaged[random.integers(len(whole), size=3)] = random.integers(256, size=3)
        path.write_bytes(damaged[: random.integers(1, len(whole))].tobytes() if random.random() < 0.2 else damaged)
        try:
            read_weights(path)
        except BundleError:
            refused += 1
    assert refused > 30


def test_names_that_are_no_text(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(BundleError, match="named tensors are required"):
        read_weights(tmp_path / "w.pth")


def test_something_else_than_tensors(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(BundleError, match="holds list; named tensors are required"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file. Check the setting `weights`"):
        read_weights(tmp_path / "w.pth")


# ----------------------------------------------------------------------------------------------------- loading


def test_load_exactly_copies() -> None:
    layer = nn.Linear(3, 2)
    load_exactly(layer, STATE, where="here")
    assert torch.equal(layer.weight, STATE["weight"])


def test_load_exactly_tells_every_problem_at_once() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(BundleError) as error:
        load_exactly(layer, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, where="file.pth")
    text = str(error.value)
    assert "file.pth: the weights do not fit Linear." in text
    assert "1 missing: bias" in text
    assert "1 unknown: extra" in text
    assert "weight ([2, 4] in the file, [2, 3] required)" in text
    assert torch.equal(layer.weight, before)


def test_a_named_head_is_left_out_and_old_counters_are_added() -> None:
    norm = nn.BatchNorm2d(2)
    state = {n: v + 1 for n, v in norm.state_dict().items() if n != "num_batches_tracked"}
    with pytest.raises(BundleError, match="1 unknown: fc.weight"):
        load_exactly(norm, {**state, "fc.weight": torch.zeros(1)}, where="x")
    load_exactly(norm, {**state, "fc.weight": torch.zeros(1)}, where="x", unused=("fc.",))
    assert norm.running_var is not None
    assert norm.running_var.tolist() == [2.0, 2.0]


def test_what_torch_advises_to_do_with_foreign_files_is_not_passed_on(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(3, 2)}, tmp_path / "whole.pth")
    with pytest.raises(BundleError, match="refers to torch.nn.modules.linear.Linear.*save its state alone") as caught:
        read_weights(tmp_path / "whole.pth")
    assert "weights_only" not in str(caught.value)
    (tmp_path / "page.pt").write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(BundleError, match="page.pt: is no file of weights, or a damaged one") as caught:
        read_weights(tmp_path / "page.pt")
    assert "weights_only" not in str(caught.value)
