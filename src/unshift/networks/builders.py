"""From ``package.module:name`` to a module, and whose code may be run for a bundle that names it.

To import a module is to run its code. In a recipe that is what its author wants; a bundle may come from anywhere, so
what it names is built only when it is a network class of a known library, or when the caller trusts it by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unshift.config import MemberRef
from unshift.errors import BundleError, ConfigError, MissingDependency

KNOWN = ("monai.networks.nets", "segmentation_models_pytorch", "dynamic_network_architectures.architectures")
"""Libraries whose network classes are built for any bundle, with arguments that name no file or address."""
FETCHING: dict[str, Any] = {"encoder_weights": None, "pretrained": False, "weights": None}
"""Arguments by which their classes fetch weights, and what keeps them from it."""
_REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)


def find_builder(builder: str) -> Any:
    """The function or class that ``package.module:name`` means.

    Raises:
        ConfigError: not of that form, or there is nothing of that name.
        MissingDependency: the package is there but lacks another, or does not work with the installed torch.
    """
    module_name, _, name = builder.partition(":")
    if not module_name or not name:
        raise ConfigError(
            f"builder: {builder!r}; package.module:function_or_class is required, as monai.networks.nets:UNet."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}.") and not _in_known(module_name):
            raise ConfigError(
                f"builder: no module {error.name!r} ({builder}). Install its package, or put its folder on PYTHONPATH."
            ) from None
        raise MissingDependency(
            f"builder: {module_name} cannot be imported ({error}). Install what it needs; segmentation_models_pytorch "
            "comes with `pip install 'unshift[timm]'`, dynamic_network_architectures with `'unshift[nnunet]'`."
        ) from None
    except (RuntimeError, AttributeError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise MissingDependency(
            f"builder: {module_name} does not work with torch {torch.__version__} ({reason}). If it uses torchvision, "
            "install the one built for this torch."
        ) from None
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(
            f"builder: {builder!r} is {'not there' if found is None else 'no function or class'}. "
            "Give one that returns a torch.nn.Module."
        )
    return found


def build(builder: str, arguments: Mapping[str, Any], classes: Mapping[str, str]) -> nn.Module:
    """What the builder returns for ``arguments``.

    Args:
        classes: further arguments that are classes, each by its name in ``torch.nn`` (``conv_op: Conv3d``).

    Raises:
        ConfigError: the builder refuses the arguments, or returns something other than a module.
    """
    layers = {name: _layer(name, each) for name, each in classes.items()}
    twice = sorted(layers.keys() & arguments.keys())
    if twice:
        raise ConfigError(f"builder: {twice} stand under both `arguments` and `classes`; keep one.")
    function = find_builder(builder)
    try:
        module = function(**arguments, **layers)
    except ImportError as error:
        raise MissingDependency(f"builder: {builder} needs a package that is not installed ({error}).") from None
    except (*_REFUSALS, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"builder: {builder} refuses {dict(arguments) | dict(classes)}: {reason}") from None
    if not isinstance(module, nn.Module):
        raise ConfigError(f"builder: {builder} returned {type(module).__name__}; a torch.nn.Module is required.")
    return module


def source_file(builder: str) -> Path | None:
    """The file that holds the builder's module, found without importing it; None where there is none."""
    try:
        spec = importlib.util.find_spec(builder.partition(":")[0])
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def trusted(ref: MemberRef, trust: Sequence[str] = ()) -> MemberRef:
    """The network's reference as it may be built for a bundle of unknown origin.

    A reference without the setting ``builder`` is returned as it is: its code is unshift's own.

    Args:
        trust: builders (``package.module:name``) and packages whose code may be run; of these nothing is checked.

    Returns:
        The reference, with arguments off that would fetch weights: a bundle brings them all.

    Raises:
        BundleError: the builder is neither trusted nor a network class of a known library, or an argument of it names
            a file or an address; or the network was an object, and nobody could build it again.
    """
    if "builder" not in ref.settings:
        return ref
    builder, arguments = ref.settings["builder"], ref.settings.get("arguments") or {}
    if builder is None:
        raise BundleError(
            "network: it was handed over as an object, so that nobody could build it again. Give own_network a "
            "`builder` (package.module:function) and its `arguments`."
        )
    module_name = str(builder).partition(":")[0]
    if any(builder == entry or f"{module_name}.".startswith(f"{entry}.") for entry in trust):
        return ref
    if not isinstance(builder, str) or not isinstance(arguments, Mapping) or not _in_known(module_name):
        raise BundleError(
            f"bundle: its network is built by {builder!r}, which is foreign code: loading would run it. If you trust "
            f"who made the bundle, name it: `trust={[builder]!r}`. Built without asking: classes of {', '.join(KNOWN)}."
        )
    found = find_builder(builder)
    library = module_name.partition(".")[0]
    if not (inspect.isclass(found) and issubclass(found, nn.Module) and found.__module__.startswith(f"{library}.")):
        raise BundleError(
            f"bundle: {builder!r} is no network class of {library}. If you trust it: `trust={[builder]!r}`."
        )
    named = [text for text in _texts(arguments) if any(sign in text for sign in ":/\\")]
    if named:
        raise BundleError(
            f"bundle: arguments of {builder} name files or addresses: {named}. If you trust it: `trust={[builder]!r}`."
        )
    accepted = inspect.signature(found).parameters
    off = {name: value for name, value in FETCHING.items() if name in accepted}
    return MemberRef.model_validate({"name": ref.name, **ref.settings, "arguments": {**arguments, **off}})


def _in_known(module_name: str) -> bool:
    return any(module_name == known or module_name.startswith(f"{known}.") for known in KNOWN)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(name)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _layer(argument: str, name: str) -> type[nn.Module]:
    found = getattr(nn, name, None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ConfigError(f"builder: class {argument}: {name!r} is no layer of torch.nn. Give a name such as Conv3d.")
    return found
