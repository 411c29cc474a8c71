"""Convolutions of volumes shallower than their kernel, kept in float32 where autocast would take bfloat16 on a CPU.

There oneDNN (3.12, in torch 2.13; its kernels ``jit_bf16:avx512_core`` and ``avx512_core_bf16``) gives a wrong gradient
of the weights: some planes of it (of a 3-deep kernel the middle one) hold what freed memory held, so that it is
nan, infinite or just wrong, and with a 7-deep kernel the heap may break. Measured against float64: 3-D, plain and
transposed, whenever 1 < depth < depth of the kernel, less some strides and dilations; a 3×3×3 kernel thus fails on
2 planes. Depth 1, height, width, two dimensions, and float32 are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv3d, torch.conv_transpose3d)


class ShallowInFloat32(TorchFunctionMode):
    """Inside, ``conv3d`` and ``conv_transpose3d`` with 1 < depth < kernel's depth compute and return float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in CONVOLUTIONS and _is_shallow(*args, **(kwargs or {})):
            return _in_float32(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _is_shallow(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> bool:  # noqa: A002 — torch's own name
    return 1 < input.shape[-3] < weight.shape[-3]


def _in_float32(
    func: Callable[..., Tensor],
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    *rest: Any,
    **settings: Any,
) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return func(input.float(), weight.float(), None if bias is None else bias.float(), *rest, **settings)
