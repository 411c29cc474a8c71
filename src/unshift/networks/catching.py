"""Tensors caught on their way from encoder to decoder, while a module's own forward runs, and changed in place.

Where the last of them is made, every consumer in the encoder has run. What is written into a tensor there is seen by
the decoder alone, whichever way its forward hands the tensor on; where nothing is written, nothing is different.
Under torch.compile these passes run uncompiled: a compiler sees other function calls than a plain run does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unshift.errors import ConfigError
from unshift.networks.recording import Place, tensors

Restyle = Callable[[list[Tensor]], Sequence[Tensor]]


class _Enough(BaseException):
    """Ends a forward pass of which only the features are wanted; no ``except Exception`` on the way holds it up."""


class Catch(TorchFunctionMode):
    """One forward pass in which tensors are caught at ``places`` and handed on at ``cut``.

    Args:
        module: whose forward is run.
        places: where each tensor is made.
        cut: the call after which all have been made.
        act: is given the tensors there, once.

    Hooks are there within the ``with`` block only, and see calls of this thread only. The function mode, which costs
    some microseconds a call, is entered only where a plain function makes one of the tensors.
    """

    def __init__(self, module: nn.Module, places: Sequence[Place], cut: Place, act: Callable[[list[Tensor]], None]):
        super().__init__()
        self.module, self.places, self.cut, self.act = module, tuple(places), cut, act
        self.caught: dict[int, Tensor] = {}
        self.done = False
        self._thread = threading.get_ident()
        self._calls: Counter[str] = Counter()
        self._open: dict[tuple[str, int], Counter[str]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Place the hooks."""
        all_places = (*self.places, self.cut)
        for path in {place.module for place in all_places}:
            module = self.module.get_submodule(path)
            self._stack.callback(module.register_forward_pre_hook(self._enters(path)).remove)
            self._stack.callback(module.register_forward_hook(self._leaves(path)).remove)
        if any(place.function for place in all_places):
            super().__enter__()
            self._stack.callback(super().__exit__, None, None, None)
        return self

    def __exit__(self, *error: object) -> None:
        """Take them away."""
        self._stack.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and look at what it made."""
        opened = {} if self.done else dict(self._open)
        name = getattr(func, "__name__", "")
        for counts in opened.values():
            counts[name] += 1
        result = func(*args, **(kwargs or {}))
        for (path, call), counts in opened.items():
            self._look(Place(path, call, name, counts[name]), result)
        return result

    def _enters(self, path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if threading.get_ident() == self._thread and not self.done:
                self._calls[path] += 1
                self._open[path, self._calls[path]] = Counter()

        return hook

    def _leaves(self, path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if threading.get_ident() == self._thread and not self.done:
                call = max(number for name, number in self._open if name == path)
                del self._open[path, call]
                self._look(Place(path, call), output)

        return hook

    def _look(self, seen: Place, output: Any) -> None:
        made: list[Tensor] | None = None
        for index, place in enumerate(self.places):
            if (place.module, place.call, place.function, place.count) == _key(seen):
                made = list(tensors(output)) if made is None else made
                if place.leaf < len(made):
                    self.caught[index] = made[place.leaf]
        if _key(self.cut) == _key(seen):
            self.done = True
            self.act([self.caught[i] for i in range(len(self.places))] if len(self.caught) == len(self.places) else [])


def features(module: nn.Module, image: Tensor, places: Sequence[Place], cut: Place) -> list[Tensor]:
    """The tensors that cross, without running what comes after.

    Raises:
        ConfigError: this forward pass does not make them.
    """
    run = torch.compiler.disable(_features) if torch.compiler.is_compiling() else _features
    return run(module, image, places, cut)


def _features(module: nn.Module, image: Tensor, places: Sequence[Place], cut: Place) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(caught: list[Tensor]) -> None:
        found.extend(caught)
        raise _Enough

    try:
        with Catch(module, places, cut, keep):
            module(image)
    except _Enough:
        pass
    _require(found, places)
    return found


def restyled(module: nn.Module, image: Tensor, places: Sequence[Place], cut: Place, restyle: Restyle) -> Any:
    """What ``module`` returns for ``image`` when ``restyle`` changes the tensors that cross.

    No gradient reaches the encoder: its parameters are frozen until the tensors are handed over. Gradients reach what
    ``restyle`` returned, and parameters of what comes after.

    Raises:
        ConfigError: this forward pass does not make them; ``image`` requires a gradient, which it cannot get; a
            tensor of ``restyle`` has another shape.
    """
    run = torch.compiler.disable(_restyled) if torch.compiler.is_compiling() else _restyled
    return run(module, image, places, cut, restyle)


def _restyled(module: nn.Module, image: Tensor, places: Sequence[Place], cut: Place, restyle: Restyle) -> Any:
    if torch.is_grad_enabled() and image.requires_grad:
        raise ConfigError(
            f"{type(module).__name__}: the images require a gradient; restyling in place keeps it from them. Detach "
            "the images, or use a network that has `decode`."
        )
    with ExitStack() as encoder, ExitStack() as block:
        if torch.is_grad_enabled():
            encoder.enter_context(_without_gradient(module))

        def write(caught: list[Tensor]) -> None:
            encoder.close()
            _require(caught, places)
            # Where a gradient is wanted, restyle keeps what it got for its own: it must not be written over.
            given = [tensor.clone() for tensor in caught] if torch.is_grad_enabled() else list(caught)
            _overwrite(caught, given, restyle(list(given)))

        catch = block.enter_context(Catch(module, places, cut, write))
        output = module(image)
    if not catch.done:
        _require([], places)
    return output


@contextmanager
def _without_gradient(module: nn.Module) -> Iterator[None]:
    # Not no_grad: views that are made under it cannot be written into later with a gradient.
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True


def _overwrite(caught: Sequence[Tensor], given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    """Write ``made`` into ``caught`` where it is not what was ``given``."""
    if len(made) != len(caught) or any(new.shape != old.shape for old, new in zip(caught, made, strict=True)):
        raise ConfigError(
            f"restyle: returned {[list(t.shape) for t in made]}; {[list(t.shape) for t in caught]} are required."
        )
    changed = [(old, new) for old, own, new in zip(caught, given, made, strict=True) if new is not own]
    for old, new in changed:
        try:
            old.copy_(new)
        except RuntimeError as error:  # one of several views of one tensor, and a gradient is wanted
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"A tap's tensor {list(old.shape)} cannot be written into ({reason}). Name `taps` by hand, without it."
            ) from None


def _require(caught: Sequence[Tensor], places: Sequence[Place]) -> None:
    if len(caught) != len(places):
        raise ConfigError(
            f"The taps {[place.module or place.function for place in places]} were not all passed in this forward "
            "pass, as they were when the network was looked at: its forward differs from call to call, perhaps with "
            "the image's size. Name `taps` by hand, or choose another size."
        )


def _key(place: Place) -> tuple[str, int, str, int]:
    return place.module, place.call, place.function, place.count
