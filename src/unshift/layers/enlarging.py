"""Nearest-neighbour enlargement by two and a 5×5 convolution, as one 3×3 convolution of the small feature.

Of the 25 places that a 5×5 kernel sees in an enlarged feature, only 9 differ. Each of the four pixels that a small one
becomes has its own 3×3 kernel, made of sums of the 5×5 one, and the four are then put side by side. The result is
that of ``interpolate(scale_factor=2)`` and ``conv2d(padding=2)`` but for round-off, with 9 multiplications in place of
25 and without the enlarged feature in memory.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_SUMS = torch.tensor(
    [
        [[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],  # first pixel: offsets -2, -1 | 0, 1 | 2
        [[1.0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],  # second: offsets -2 | -1, 0 | 1, 2
    ]
)


class Enlarging(nn.Module):
    """[batch, inputs, height, width] -> [batch, outputs, 2 height, 2 width].

    Args:
        inputs, outputs: channels.
        bias: whether there is one; before a norm it would be without effect.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 5, 5))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("sums", _SUMS.clone(), persistent=False)
        self.sums: Tensor
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs tall wide"]:
        """Enlarged and convolved."""
        sums = self.sums.to(self.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            kernels = torch.einsum("par,oirs,qbs->opqiab", sums, self.weight, sums)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, kernels.reshape(-1, x.shape[1], 3, 3), bias, padding=1), 2)
