"""One forward pass of any module, written down: which calls there were, in which other, on which tensors.

Module calls are seen by forward hooks, torch functions that run between them by a ``TorchFunctionMode``. What neither
sees (compiled code) counts as done by the module around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_IN_PLACE = ("__setitem__",)
"""Functions that change their first argument and return nothing."""


@dataclass(frozen=True)
class Place:
    """A call that every forward pass makes: of a module, or of a torch function within a module's call.

    Args:
        module: its path in the root module; empty for the root.
        call: which of the module's calls, from 1.
        function: name of the function, if it is one.
        count: which of that function's calls within the module's call, from 1, however deep.
        leaf: which tensor of what the call returns, from 0.
    """

    module: str
    call: int = 1
    function: str = ""
    count: int = 0
    leaf: int = 0


@dataclass(eq=False)
class Call:
    """One call. ``start`` and ``end`` are its times in the order of all calls."""

    place: Place
    start: int
    end: int = -1
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    children: list[Call] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def walk(self) -> Iterator[Call]:
        """All calls within, this one first, outer before inner."""
        yield self
        for child in self.children:
            yield from child.walk()


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested sequences, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from tensors(getattr(value, each.name))


class Recording(TorchFunctionMode):
    """The calls of one forward pass of ``module`` on ``image``.

    Attributes:
        module, image: as given.
        root: the call of ``module`` itself.
        output: what it returned.
        operations: calls that have none within (functions, modules without submodules' calls), in the order of time.
    """

    root: Call

    def __init__(self, module: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.module, self.image = module, image
        self.operations: list[Call] = []
        self._time, self._open, self._calls = 0, list[Call](), Counter[str]()
        self._kept: list[Any] = []  # alive, so that no two tensors share an id
        self._known = {id(image)}
        handles = list(self._hooks(module))
        try:
            with torch.no_grad(), self:
                self.output = module(image)
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``; note it if a tensor comes of it (``shape`` and the like use no values)."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        for call in self._open:
            call.counts[name] += 1
        result = func(*args, **kwargs)
        outputs = list(tensors(args[0] if name in _IN_PLACE else result))
        if outputs and self._open:
            around = self._open[-1]
            place = Place(around.place.module, around.place.call, name, around.counts[name])
            call = Call(place, self._tick(), inputs=list(tensors((args, kwargs))), outputs=outputs)
            call.end = self._tick()
            around.children.append(call)
            self._note(call)
        return result

    def _hooks(self, module: nn.Module) -> Iterator[Any]:
        for path, each in _modules(module):

            def enter(_: nn.Module, args: Any, kwargs: Any, path: str = path) -> None:
                self._calls[path] += 1
                call = Call(Place(path, self._calls[path]), self._tick(), inputs=list(tensors((args, kwargs))))
                if self._open:
                    self._open[-1].children.append(call)
                else:
                    self.root = call
                self._open.append(call)

            def leave(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                call = self._open.pop()
                call.outputs, call.end = list(tensors(output)), self._tick()
                if not call.children:
                    self._note(call)
                elif unseen := [t for t in call.outputs if id(t) not in self._known]:
                    inside = [t for c in call.children for t in (*c.inputs, *c.outputs)]
                    self._note(Call(call.place, call.end, call.end, [*call.inputs, *inside], unseen))

            yield each.register_forward_pre_hook(enter, with_kwargs=True)
            yield each.register_forward_hook(leave, with_kwargs=True)

    def _note(self, call: Call) -> None:
        self._kept += [call.inputs, call.outputs]
        self._known.update(id(t) for t in call.outputs)
        self.operations.append(call)

    def _tick(self) -> int:
        self._time += 1
        return self._time


def _modules(root: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Path -> module, less what is inside of TorchScript: no hook sees it."""
    scripted: tuple[str, ...] = ()
    for path, module in root.named_modules():
        if not path.startswith(scripted):
            yield path, module
            if isinstance(module, torch.jit.ScriptModule):
                scripted = (*scripted, f"{path}.")
