"""A trained translator and its bank of styles in one file: safetensors, settings in its header, no pickle."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from unshift.config import parse
from unshift.errors import BundleError
from unshift.networks.style_bank import StyleBank
from unshift.networks.translator import Translator, TranslatorConfig
from unshift.weights import load_exactly, read_weights

_KIND = "unshift translator"
_BANK = ("bank.codes", "bank.clusters")


def write_translator(path: Path, translator: Translator, bank: StyleBank | None = None) -> None:
    """Write to a temporary name, then rename. Of a training it is the objective's ``average`` that translates."""
    tensors = {f"translator.{name}": value for name, value in translator.state_dict().items()}
    if bank is not None:
        tensors |= dict(zip(_BANK, (bank.codes, bank.clusters), strict=True))
    header = {"kind": _KIND, "channels": translator.channels, "config": translator.config.model_dump(mode="json")}
    draft = path.with_name(f".{path.name}")
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, draft, metadata={"unshift": json.dumps(header)})
    draft.replace(path)


def read_translator(path: Path) -> tuple[Translator, StyleBank | None]:
    """What :func:`write_translator` wrote, in evaluation mode.

    Raises:
        BundleError: the file is missing or damaged, or holds something else.
    """
    tensors = read_weights(path)
    try:
        with safe_open(path, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["unshift"])
        channels, settings, kind = header["channels"], header["config"], header["kind"]
    except (SafetensorError, KeyError, TypeError, ValueError):
        kind = None
    if kind != _KIND:
        raise BundleError(f"{path}: holds no translator; a file that write_translator wrote is required.")
    translator = Translator(parse(TranslatorConfig, settings, where=str(path)), channels)
    bank = {name: tensors.pop(name) for name in _BANK if name in tensors}
    load_exactly(translator, {n.removeprefix("translator."): t for n, t in tensors.items()}, where=str(path))
    return translator.eval(), StyleBank(*(bank[name] for name in _BANK)) if bank else None
