"""Which tensors cross from the encoder to the decoder of any module, found by looking at one forward pass.

The encoder ends with the last call that gives a tensor of the deepest stride before resolution is regained: a pooling
and two convolutions in a row, a block, a whole encoder, or the innermost call of a nested U-Net. What was made up to
there of the image, is used after it, and reaches the output, crosses. The input itself does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.networks.recording import Call, Place, Recording

log = logging.getLogger(__name__)

Stride = tuple[int, ...]
_JOINS = ("cat", "concat", "concatenate")


@dataclass(frozen=True)
class Crossing:
    """Where the taps of a module are made, and where the encoder ends.

    Args:
        taps: shallow to deep.
        strides: of every tap, one number an axis.
        places: the calls that make the taps' tensors.
        cut: the call after which all of them are made, and nothing of the encoder is left to do.
    """

    taps: tuple[Tap, ...]
    strides: tuple[Stride, ...]
    places: tuple[Place, ...]
    cut: Place


def find_crossing(
    recording: Recording,
    *,
    logits: Callable[[Any], Tensor],
    taps: Sequence[str] | None = None,
    isotropic: bool = True,
) -> Crossing:
    """The taps of the module of which one forward pass in evaluation mode was recorded.

    The recorded image must be large enough for two pixels a side at the deepest stride; best it is not square, which
    tells channels-last tensors and pooled pyramids from features.

    Args:
        logits: takes what the module returned and gives the tensor that matters.
        taps: names of modules, or of taps as they are found, to be the taps instead, in any order; none for none.
        isotropic: only features whose axes have one stride count.

    Raises:
        ConfigError: nothing crosses, or what was named by hand does not.
        UnknownName: a name that no module call or tap bears.
    """
    if taps is not None and not taps:
        return Crossing((), (), (), recording.root.place)
    return _Look(recording, logits(recording.output), isotropic=isotropic).crossing(taps)


def tap_rows(network: Network, size: Sequence[int]) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Name, stride, channels and size of every tap for images of ``size``, shallow to deep: for people to look at."""
    strides = getattr(network, "strides", [(tap.stride,) * len(size) for tap in network.taps])
    return [
        (tap.name, tap.stride, tap.channels, tuple(side // each for side, each in zip(size, stride, strict=True)))
        for tap, stride in zip(network.taps, strides, strict=True)
    ]


class _Look:
    """A recording, and what follows from it."""

    def __init__(self, recording: Recording, result: Tensor, *, isotropic: bool) -> None:
        self.isotropic, self.result, self.name = isotropic, result, type(recording.module).__name__
        self.root, self.operations, self.image = recording.root, recording.operations, recording.image
        self.calls = [call for call in self.root.walk() if call is not self.root]
        self.of_image = self._derived(lambda t: t is self.image)
        self.reaching = self._reaching()
        stored = [self.image, *recording.module.parameters(), *recording.module.buffers()]
        self.stored = {t.untyped_storage().data_ptr() for t in stored}
        self.made: dict[int, tuple[Tensor, list[Call]]] = {}
        for call in sorted(self.calls, key=lambda c: (c.end, -c.start)):
            for tensor in call.outputs:
                self.made.setdefault(id(tensor), (tensor, []))[1].append(call)

    def crossing(self, names: Sequence[str] | None) -> Crossing:
        """The taps, found or as named."""
        cut = self._cut(self.root)
        found = self._crossing(cut) if cut else []
        while cut and not found and cut.children:  # it returns features and logits, or more than the encoder
            cut = self._cut(cut)
            found = self._crossing(cut) if cut else []
        if names is not None:
            cut, found = self._named(names, cut, found)
        if not cut or not found:
            raise ConfigError(
                f"{self.name}: no tensor of reduced size crosses from an encoder to a decoder, so there is nothing to "
                "restyle. Name modules in `taps` by hand, which return features that the decoder uses, or set "
                "`taps: []` to use it whole."
            )
        self._tell_others(cut)
        found.sort(key=lambda tensor: (prod(self._stride(tensor) or ()), self.made[id(tensor)][1][0].end))
        places = [self._place(tensor, cut) for tensor in found]
        strides = [self._stride(tensor) or () for tensor in found]
        labels = _distinct([self._label(tensor, cut) for tensor in found])
        taps = [
            Tap(label, max(stride), tensor.shape[1])
            for label, stride, tensor in zip(labels, strides, found, strict=True)
        ]
        return Crossing(tuple(taps), tuple(strides), tuple(places), cut.place)

    # ------------------------------------------------------------------------------------------ what tensors are

    def _stride(self, tensor: Tensor) -> Stride | None:
        """Input pixels per pixel of a feature, an axis each; None for what is no feature of the image."""
        sides, shape = self.image.shape[2:], tensor.shape
        if tensor.ndim != self.image.ndim or shape[0] != self.image.shape[0] or not tensor.is_floating_point():
            return None
        if not tensor.numel() or any(side % own for side, own in zip(sides, shape[2:], strict=True)):
            return None
        stride = tuple(side // own for side, own in zip(sides, shape[2:], strict=True))
        pooled = min(shape[2:]) < 2 or (self.isotropic and len(set(stride)) > 1)
        return None if pooled or id(tensor) not in self.of_image else stride

    def _derived(self, begins: Callable[[Tensor], bool]) -> set[int]:
        """Ids of the tensors for which ``begins``, and of all that is computed from them."""
        found: set[int] = {id(self.image)} if begins(self.image) else set()
        for call in self.operations:
            if any(id(t) in found for t in call.inputs):
                found.update(id(t) for t in call.outputs)
            found.update(id(t) for t in call.outputs if begins(t))
        return found

    def _reaching(self) -> dict[int, int]:
        """Id of every tensor that the result is computed from -> the time of its last such use."""
        last, end = {}, self.operations[-1].end + 1
        last[id(self.result)] = end
        for call in reversed(self.operations):
            if any(id(t) in last for t in call.outputs):
                for tensor in call.inputs:
                    last.setdefault(id(tensor), call.start)
        return last

    # ------------------------------------------------------------------------------------- where the encoder ends

    def _cut(self, around: Call) -> Call | None:
        """The call within another that ends the encoder."""
        strides = {id(t): prod(s) for c in around.walk() for t in c.outputs if (s := self._stride(t))}
        depth = max(strides.values(), default=1)
        if depth == 1:
            return None
        below = {tensor for tensor, stride in strides.items() if stride == depth}
        while not any(_makes(c, below) for c in around.children):
            inside = [c for c in around.children if any(_makes(part, below) for part in c.walk())]
            if not inside:
                return None
            around = inside[0]
        cut = self._last(around.children, below, depth)
        while (join := self._skip_join(cut)) and any(
            _makes(c, below) for c in cut.children[: cut.children.index(join)]
        ):
            cut = self._last(cut.children[: cut.children.index(join)], below, depth)
        return cut

    def _last(self, calls: Sequence[Call], below: set[int], depth: int) -> Call:
        """The last call that makes a deepest feature before resolution is regained."""
        first = next(i for i, call in enumerate(calls) if _makes(call, below))
        cut, tainted = calls[first], self._derived(lambda t: id(t) in below)
        for call in calls[first + 1 :]:
            if _makes(call, below) and not self._is_prediction(call, below):
                cut = call
            elif self._regains(call, tainted, depth):
                break
        return cut

    def _is_prediction(self, call: Call, below: set[int]) -> bool:
        """Whether its deep tensors have as many channels as the result: logits still to be resized."""
        return all(t.shape[1] == self.result.shape[1] for t in call.outputs if id(t) in below)

    def _regains(self, call: Call, tainted: set[int], depth: int) -> bool:
        """Whether the call makes larger features of what came from the deepest ones."""
        used = (t for o in self.operations if call.start <= o.start and o.end <= call.end for t in o.inputs)
        before = {id(t) for t in used if id(t) in self.made and self.made[id(t)][1][0].end < call.start}
        strides = [s for t in call.outputs if (s := self._stride(t))]
        return bool(before & tainted) and any(prod(s) < depth for s in strides)

    def _skip_join(self, call: Call) -> Call | None:
        """The call's own joining of its input to what its inside made of it: the decoder's work already."""
        returned, given = {id(t) for t in call.outputs}, {id(t) for t in call.inputs}
        for part in call.children:
            if part.place.function in _JOINS and _makes(part, returned) and len(part.inputs) == 2:
                return part if sum(id(t) in given for t in part.inputs) == 1 else None
        return None

    # ---------------------------------------------------------------------------------------------- what crosses

    def _crossing(self, cut: Call) -> list[Tensor]:
        """Features that are made up to ``cut``, used after it, and reach the result; each piece of memory once."""
        found = [
            tensor
            for tensor, calls in self.made.values()
            if calls[0].end <= cut.end and self._stride(tensor) and self._crosses(tensor, cut)
        ]
        kept: list[Tensor] = []
        for tensor in sorted(found, key=lambda t: -t.numel()):
            if not any(_overlap(tensor, other) for other in kept):
                kept.append(tensor)
        return kept

    def _tell_others(self, cut: Call) -> None:
        """Say in the log that tokens cross too, which no unit can restyle."""
        tokens = [
            list(tensor.shape)
            for tensor, calls in self.made.values()
            if tensor.ndim > 2 and id(tensor) in self.of_image and not self._stride(tensor)
            if calls[0].end <= cut.end and self._crosses(tensor, cut)
        ]
        if tokens:
            log.warning(
                "%s: tensors %s cross from encoder to decoder too, but are no features [batch, channel, *space]; they "
                "stay as they are. Look whether the taps are what you mean, or name `taps` by hand.",
                self.name,
                tokens,
            )

    def _crosses(self, tensor: Tensor, cut: Call) -> bool:
        expanded = any(n > 1 and step == 0 for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        foreign = tensor.untyped_storage().data_ptr() in self.stored
        used = tensor is not self.result and self.reaching.get(id(tensor), 0) > cut.end
        return used and not expanded and not foreign

    def _named(self, names: Sequence[str], cut: Call | None, found: list[Tensor]) -> tuple[Call, list[Tensor]]:
        """What was named by hand; the encoder ends where it was found to, or else with the last that was named."""
        by_label = {self._label(t, cut): t for t in found} if cut else {}
        chosen, end = dict[str, list[Tensor]](), cut
        for name in names:
            if name in by_label:
                chosen[name] = [by_label[name]]
                continue
            call = self._call(name, by_label)
            chosen[name] = [t for t in call.outputs if self._stride(t)]
            if not chosen[name]:
                raise ConfigError(
                    f"{self.name}: tap {name!r} returns no feature of the image, [batch, channel, *space] of an even "
                    "share of its size. Name another module."
                )
        flat = [t for made in chosen.values() for t in made]
        if not end or not all(self._crosses(t, end) and self.made[id(t)][1][0].end <= end.end for t in flat):
            end = max((self.made[id(t)][1][0] for t in flat), key=lambda call: call.end)
        unused = [name for name, made in chosen.items() if not all(self._crosses(t, end) for t in made)]
        if unused:
            raise ConfigError(
                f"{self.name}: {unused} are not used after {_describe(end.place)}, where the encoder ends, or not for "
                "the output. Name modules whose output the decoder uses, the deepest one among them."
            )
        return end, list({id(t): t for t in flat}.values())

    def _call(self, name: str, labels: Iterable[str]) -> Call:
        path, _, number = name.partition("#")
        calls = [call for call in self.calls if call.place.module == path and not call.place.function]
        if not calls:
            paths = {call.place.module for call in self.calls if not call.place.function}
            raise UnknownName("tap", name, {*labels, *paths}, where=self.name)
        if number.isdigit() and 1 <= int(number) <= len(calls):
            return calls[int(number) - 1]
        if len(calls) > 1 or number:
            raise ConfigError(
                f"tap {name!r}: {path} is called {len(calls)} times. Write {path}#1 … {path}#{len(calls)}."
            )
        return calls[0]

    def _place(self, tensor: Tensor, cut: Call) -> Place:
        """A module's call that returns it, which costs nothing to watch, or the function that makes it."""
        calls = [call for call in self.made[id(tensor)][1] if call.end <= cut.end]
        call = min(calls, key=lambda c: bool(c.place.function))
        return replace(call.place, leaf=next(i for i, t in enumerate(call.outputs) if t is tensor))

    def _label(self, tensor: Tensor, cut: Call) -> str:
        """The outermost module that returns this tensor alone, or the call that makes it."""
        calls = [call for call in self.made[id(tensor)][1] if call.end <= cut.end]
        alone = [call for call in calls if len(call.outputs) == 1 and not call.place.function]
        return _describe(min(alone, key=lambda c: c.start).place if alone else self._place(tensor, cut))


def _makes(call: Call, ids: set[int]) -> bool:
    return any(id(tensor) in ids for tensor in call.outputs)


def _describe(place: Place) -> str:
    path = f"{place.module}#{place.call}" if place.call > 1 else place.module
    leaf = f"[{place.leaf}]" if place.leaf else ""
    return f"{path or 'forward'}:{place.function}#{place.count}{leaf}" if place.function else f"{path}{leaf}"


def _distinct(labels: list[str]) -> list[str]:
    return [label if labels.count(label) == 1 else f"{label}({i})" for i, label in enumerate(labels)]


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors share an element of memory."""
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    length = a.untyped_storage().nbytes() // a.element_size()
    if a.dtype != b.dtype:
        return True
    touched = torch.zeros(length, dtype=torch.bool)
    touched.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(touched.as_strided(b.shape, b.stride(), b.storage_offset()).any())
