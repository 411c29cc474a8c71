from __future__ import annotations

import warnings
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unshift.networks.recording import Place, Recording, tensors


def square(x: Tensor) -> Tensor:
    return x * x


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    UNSEEN = torch.jit.trace(square, torch.rand(2))  # compiled code, as extensions are


class Two(nn.Module):
    """A module call within another, functions between, and compiled code that no mode sees."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.inner(x))
        size = y.shape[2:]
        y[:, :1] = 0.0
        return UNSEEN(functional.interpolate(functional.relu(y), size=size))


def test_calls_are_nested_as_they_ran() -> None:
    recording = Recording(Two().eval(), torch.rand(1, 1, 4, 4))
    root = recording.root
    assert [(c.place.module, c.place.function, c.place.count) for c in root.children] == [
        ("inner", "", 0),
        ("", "relu", 2),  # the second however deep: nn.ReLU inside calls the first
        ("", "__setitem__", 1),
        ("", "relu", 3),
        ("", "interpolate", 1),
    ]
    assert [c.place for c in root.children[0].walk()][1:3] == [Place("inner.0"), Place("inner.0", 1, "conv2d", 1)]
    assert all(a.start < a.end <= b.start for a, b in zip(root.children, root.children[1:], strict=False))


def test_what_nothing_saw_counts_as_done_by_the_module_around() -> None:
    recording = Recording(Two().eval(), torch.rand(1, 1, 4, 4))
    last = recording.operations[-1]
    assert last.outputs[0] is recording.output
    assert any(t is recording.root.children[-1].outputs[0] for t in last.inputs)


def test_the_module_is_as_it_was() -> None:
    module = Two().eval()
    x = torch.rand(1, 1, 4, 4)
    with torch.no_grad():
        assert torch.equal(Recording(module, x).output, module(x))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_modules_called_again_are_counted() -> None:
    layer = nn.ReLU()
    recording = Recording(nn.Sequential(layer, nn.Identity(), layer), torch.rand(1, 1, 2, 2))
    assert [c.place for c in recording.root.children] == [Place("0"), Place("1"), Place("0", 2)]


def test_tensors_in_what_modules_return() -> None:
    @dataclass
    class Out:
        logits: Tensor
        hidden: list[Tensor]

    a, b, c = (torch.tensor(float(i)) for i in range(3))
    found = list(tensors({"x": a, "y": (b, [None, OrderedDict(z=Out(c, [a]))]), "n": 3}))
    assert [float(t) for t in found] == [0.0, 1.0, 2.0, 0.0]
