"""How many operations a computation takes, by one written rule, and how long it takes.

The rule, which gives the published 159.95 G of the 34.5 M U-Net at 400 × 400: a multiply-accumulate of a convolution or
matrix product is 1; a convolution's bias 1 and batch norm 2 (scale, shift) for each output value; an activation or an
arithmetic operation 1 for each output value; pooling and statistics 1 for each input value; moving values (upsampling
by repetition, concatenation, padding, reshaping) nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
_PER_OUTPUT = {
    1: (
        *(aten.relu, aten.relu_, aten.leaky_relu, aten.leaky_relu_, aten.hardtanh, aten.hardtanh_, aten.sigmoid),
        *(aten.add, aten.add_, aten.sub, aten.sub_, aten.mul, aten.mul_, aten.div, aten.div_, aten.neg),
        *(aten.sqrt, aten.rsqrt, aten.pow, aten.clamp, aten.clamp_min, aten.threshold_backward, aten.lerp),
    ),
    2: (aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm, aten.addcmul),
}
_PER_INPUT = (
    *(aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.avg_pool2d, aten.avg_pool3d),
    *(aten.sum, aten.mean, aten.var, aten.std, aten.var_mean),
)
_OF_OUTPUT = {packet: cost for cost, packets in _PER_OUTPUT.items() for packet in packets}


class _Elementwise(TorchDispatchMode):
    """Counts everything of the rule but multiply-accumulates, whichever module or function asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        first = found[0] if isinstance(found, tuple | list) else found
        if packet in _OF_OUTPUT:
            self.total += _OF_OUTPUT[packet] * first.numel()
        elif packet in _PER_INPUT:
            self.total += args[0].numel()
        elif packet is aten.convolution and args[2] is not None:
            self.total += first.numel()
        return found


def count_operations(call: Callable[[], object]) -> int:
    """Operations of ``call()`` by the rule above; on meta tensors nothing is computed."""
    with FlopCounterMode(display=False) as products, _Elementwise() as others:
        call()
    return products.get_total_flops() // 2 + others.total


def milliseconds(call: Callable[[], object], *, repeats: int = 5, device: torch.device | None = None) -> float:
    """Median time of ``call()`` after one call that is not counted; on a GPU, until its work is done."""
    call()
    times = []
    for _ in range(repeats):
        _wait(device)
        begin = time.perf_counter()
        call()
        _wait(device)
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def numbers(*tensors: Tensor) -> int:
    """How many numbers are stored in tensors: parameters."""
    return sum(tensor.numel() for tensor in tensors)


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
