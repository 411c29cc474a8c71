"""Two boolean masks on one grid, as NumPy arrays."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from unshift.errors import DataError, ShapeMismatch

Mask = Bool[np.ndarray, "*space"] | Bool[Tensor, "*space"]
"""What every metric takes: a boolean array or tensor (any device) over the grid; True is the region."""


def as_pair(prediction: Mask, reference: Mask) -> tuple[Bool[np.ndarray, "*space"], Bool[np.ndarray, "*space"]]:
    """Both masks as NumPy arrays on the CPU, checked.

    Raises:
        DataError: a mask is not boolean. A label map or probabilities must be turned into a mask by the caller, who
            alone knows the labels of the region and the threshold.
        ShapeMismatch: the two masks have different shapes.
    """
    pair = []
    for name, mask in (("prediction", prediction), ("reference", reference)):
        array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
        if array.dtype != np.bool_:
            raise DataError(f"Mask of the {name}: found {array.dtype}; bool is required. Compare with a label first.")
        pair.append(array)
    if pair[0].shape != pair[1].shape:
        raise ShapeMismatch(
            f"Masks: prediction is {_times(pair[0].shape)} but reference is {_times(pair[1].shape)}; "
            "both must share one grid. Predict on the reference's own grid."
        )
    return pair[0], pair[1]


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)
