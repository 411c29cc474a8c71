"""Taps changed where they are made: what comes after, in the encoder as in the decoder, sees the changed feature.

The other way to a network's features, ``Network.restyled``, changes what enters the decoder and leaves the encoder's
own path as it is. Here the call that makes a tap's tensor (a module's, or a torch function's between modules) is found
by looking at one forward pass, and what it returns is replaced; gradients flow through. It works on every network that
has taps; under torch.compile it runs uncompiled.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unshift.contracts import Network
from unshift.errors import ConfigError
from unshift.networks.recording import Call, Place, Recording
from unshift.networks.sizing import least_factor
from unshift.randomness import torch_generator

Change = Callable[[int, Tensor], Tensor]
"""(Number of the place, what is made there) -> what is seen instead, of the same shape."""


@torch.no_grad()
def find_taps(network: Network, names: Sequence[str]) -> tuple[Place, ...]:
    """Where the tensors of these taps are made, found on a made-up image in evaluation mode; all modes are restored.

    Raises:
        ConfigError: the network has no taps, or not these, or none of its calls makes a tap's tensor.
    """
    taps = {tap.name: index for index, tap in enumerate(network.taps)}
    if not taps or not set(names) <= taps.keys():
        raise ConfigError(
            f"{type(network).__name__}: taps {list(names)} are wanted; it has {list(taps) or 'none'}. Name some of "
            "these, or choose a network with taps."
        )
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        image = _probe(network)
        features = network.encode(image)
        recording = Recording(network, image)
    finally:
        for module in training:
            module.training = True
    return tuple(
        _made(recording, features[taps[name]], name=f"{type(network).__name__}: tap {name!r}") for name in names
    )


def _probe(network: Network) -> Tensor:
    dims, unit = network.task.spatial_dims, math.lcm(network.size_divisor, *(tap.stride for tap in network.taps))
    side = unit * max(2, least_factor(network), -(-32 // unit))
    noise = torch.rand((2, network.in_channels, *[side] * dims), generator=torch_generator(0, "probe"))
    return noise.to(network.input_mean)


def _made(recording: Recording, feature: Tensor, *, name: str) -> Place:
    """The outermost call, but for the network's own, that ends with the first tensor equal to ``feature``."""

    def leaf(call: Call) -> int | None:
        equal = (o.shape == feature.shape and torch.equal(o, feature) for o in call.outputs)
        return next((index for index, is_equal in enumerate(equal) if is_equal), None)

    within = [call for call in recording.root.walk() if call is not recording.root and leaf(call) is not None]
    if not within:
        raise ConfigError(
            f"{name}: none of the network's calls makes its tensor, so that it cannot be changed there. Name other "
            "taps."
        )
    first = min(within, key=lambda call: call.end)
    # A call that gives several tensors (a whole encoder) ends later than the making of this one.
    outer = [c for c in within if c.start < first.start and c.end > first.end and len(c.outputs) == 1]
    around = max(outer, key=lambda c: c.end) if outer else first
    # An activation that writes into the tensor it got (inplace) makes the tap, not the norm before it.
    after = [c for c in within if c.start > around.end and _is_in_place(recording.module, c) and _same(c, around)]
    made = max(after, key=lambda c: c.end) if after else around
    place = made.place
    return Place(place.module, place.call, place.function, place.count, leaf(made) or 0)


def _is_in_place(root: nn.Module, call: Call) -> bool:
    if call.place.function:
        return call.place.function.endswith("_")
    return bool(getattr(root.get_submodule(call.place.module), "inplace", False))


def _same(first: Call, second: Call) -> bool:
    return bool({id(tensor) for tensor in first.outputs} & {id(tensor) for tensor in second.outputs})


class Rewriting(TorchFunctionMode):
    """One forward pass within the ``with`` block, in which what is made at ``places`` is changed on its way.

    Args:
        module: whose forward is run.
        places: as :func:`find_taps` gives them.
        change: called once a place, in the order in which tensors are made.

    Raises:
        ConfigError: at the block's end, for a place that the forward pass did not come by.
    """

    def __init__(self, module: nn.Module, places: Sequence[Place], change: Change) -> None:
        super().__init__()
        self.module, self.places, self.change = module, tuple(places), change
        self.done: set[int] = set()
        self._thread = threading.get_ident()
        self._calls: Counter[str] = Counter()
        self._open: dict[tuple[str, int], Counter[str]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Place the hooks; the function mode, which costs some microseconds a call, only where a function is meant."""
        for path in {place.module for place in self.places}:
            module = self.module.get_submodule(path)
            self._stack.callback(module.register_forward_pre_hook(self._enters(path)).remove)
            self._stack.callback(module.register_forward_hook(self._leaves(path)).remove)
        if any(place.function for place in self.places):
            super().__enter__()
            self._stack.callback(super().__exit__, None, None, None)
        return self

    def __exit__(self, kind: object = None, *error: object) -> None:
        """Take them away."""
        self._stack.close()
        missed = [place for index, place in enumerate(self.places) if index not in self.done]
        if missed and kind is None:
            raise ConfigError(
                f"The taps {[place.module or place.function for place in missed]} were not passed in this forward "
                "pass, as they were when the network was looked at: its forward differs from call to call. Name other "
                "taps."
            )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and change what it made, where it is meant."""
        opened, name = dict(self._open), getattr(func, "__name__", "")
        for counts in opened.values():
            counts[name] += 1
        result = func(*args, **(kwargs or {}))
        for (path, call), counts in opened.items():
            result = self._seen(Place(path, call, name, counts[name]), result)
        return result

    def _enters(self, path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if threading.get_ident() == self._thread:
                self._calls[path] += 1
                self._open[path, self._calls[path]] = Counter()

        return hook

    def _leaves(self, path: str) -> Callable[..., Any]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            if threading.get_ident() != self._thread:
                return None
            call = max(number for name, number in self._open if name == path)
            del self._open[path, call]
            return self._seen(Place(path, call), output)

        return hook

    def _seen(self, place: Place, output: Any) -> Any:
        for index, wanted in enumerate(self.places):
            if (wanted.module, wanted.call, wanted.function, wanted.count) == (
                *(place.module, place.call),
                *(place.function, place.count),
            ):
                self.done.add(index)
                output = _replaced(output, wanted.leaf, partial(self.change, index))
        return output


def _replaced(output: Any, leaf: int, change: Callable[[Tensor], Tensor]) -> Any:
    """``output`` with its tensor number ``leaf`` changed; one tensor, or a flat list or tuple of them."""
    if isinstance(output, Tensor):
        return change(output)
    if not isinstance(output, list | tuple) or not isinstance(output[leaf], Tensor):
        raise ConfigError(
            f"A tap's tensor comes in a {type(output).__name__}; one tensor, or a list of them, is required where it "
            "is to be changed. Name other taps."
        )
    return type(output)(change(part) if index == leaf else part for index, part in enumerate(output))
