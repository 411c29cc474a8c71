from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unshift.errors import BundleError
from unshift.networks.stored_translator import read_translator, write_translator
from unshift.networks.style_bank import StyleBank
from unshift.networks.translator import Translator, TranslatorConfig


def example() -> Translator:
    torch.manual_seed(0)
    return Translator(TranslatorConfig(width=4, blocks=1, style_depth=2), 3)


def test_it_makes_a_round_trip(tmp_path: Path) -> None:
    translator, path = example(), tmp_path / "ct_to_mr.safetensors"
    bank = StyleBank(torch.rand(5, 8), torch.tensor([0, 1, 1, 0, 2]))
    write_translator(path, translator, bank)
    other, stored = read_translator(path)
    assert stored is not None and torch.equal(stored.codes, bank.codes) and stored.count == 3
    assert other.config == translator.config and not other.training
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(other(images, bank.codes[:1]), translator(images, bank.codes[:1]))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    write_translator(path, translator)
    assert read_translator(path)[1] is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    with pytest.raises(BundleError, match="no such file"):
        read_translator(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(BundleError, match="holds no translator"):
        read_translator(path)
    write_translator(path, example())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BundleError, match="damaged"):
        read_translator(path)
    write_translator(path, example())
    assert "translator.decoder.head.weight" in load_file(path)
