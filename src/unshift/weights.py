"""Named tensors from files, read without running code; into modules, all of them or none."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # the class alone: torch raises it for a file that its safe loader refuses

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from unshift.errors import BundleError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of RGB in [0, 1]: what networks trained on ImageNet have taken out of their images."""
_WRAPPINGS = ("state_dict", "model_state_dict", "model")
_SHOWN = 8
_DAMAGE = (
    *(SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError),
    *(AttributeError, AssertionError, struct.error),
)
"""What safetensors' and torch's readers raise for files that are damaged."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, from safetensors (``.safetensors``) or from torch's own format, read without running code.

    A training checkpoint that holds the weights under ``state_dict``, ``model_state_dict`` or ``model`` is unwrapped.

    Raises:
        BundleError: no such file, damaged, or something other than named tensors.
    """
    if not path.is_file():
        raise BundleError(f"{path}: no such file. Check the setting `weights`.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise _unreadable(path, error) from None
    for key in _WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise BundleError(f"{path}: holds {type(content).__name__}; named tensors are required. Save a state_dict.")
    return dict(content)


def _unreadable(path: Path, error: BaseException) -> BundleError:
    """What is in the file in place of tensors. torch's own words advise to run the code in it and are not passed on."""
    text = " ".join(str(error).split())
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if isinstance(error, UnpicklingError) and named:
        return BundleError(
            f"{path}: refers to {named[1]} beside tensors, and reading it would run code. A whole model or "
            "trainer was saved; save its state alone: torch.save(model.state_dict(), …)."
        )
    reason = "" if isinstance(error, UnpicklingError) else f" ({text[:200]})"
    return BundleError(
        f"{path}: is no file of weights, or a damaged one{reason}. Give a .safetensors file, or what "
        "torch.save(model.state_dict(), …) wrote."
    )


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], *, where: str, unused: Sequence[str] = ()) -> None:
    """Copy ``state`` into ``module``; every name and shape must fit.

    Args:
        where: file or source, for the message.
        unused: beginnings of names that ``state`` may hold and ``module`` has no place for (a classification head).

    The counter ``num_batches_tracked``, which files from before torch 0.4.1 lack, begins at 0 where it is missing.

    Raises:
        BundleError: all names that are missing, unknown, or of another shape.
    """
    own = module.state_dict()
    given = {name: value for name, value in state.items() if name in own or not name.startswith(tuple(unused))}
    counters = {n: torch.zeros_like(own[n]) for n in own.keys() - given.keys() if n.endswith("num_batches_tracked")}
    given.update(counters)
    problems = {
        "missing": sorted(own.keys() - given.keys()),
        "unknown": sorted(given.keys() - own.keys()),
        "of another shape": [
            f"{name} ({list(value.shape)} in the file, {list(own[name].shape)} required)"
            for name, value in given.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    lines = [f"  {len(found)} {kind}: {_some(found)}" for kind, found in problems.items() if found]
    if lines:
        raise BundleError("\n".join([f"{where}: the weights do not fit {type(module).__name__}.", *lines]))
    module.load_state_dict(given)


def _some(names: Sequence[str]) -> str:
    more = f" … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
