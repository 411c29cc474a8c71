"""The values inside the field of view, and the way back onto the grid: shared by all normalizations with statistics."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import DataError
from unshift.sample import Sample

logger = logging.getLogger(__name__)


def mask_of(sample: Sample) -> Bool[Tensor, "*space"]:
    """The field of view; the whole grid when none is known.

    Raises:
        DataError: the field of view is empty.
    """
    if sample.field_of_view is None:
        return torch.ones(sample.space, dtype=torch.bool, device=sample.image.device)
    if not sample.field_of_view.any():
        raise DataError(
            f"Case {sample.case!r}: the field of view is empty; at least one pixel is required. "
            "Correct the field-of-view mask, or leave it out."
        )
    return sample.field_of_view


def channels_inside(sample: Sample) -> list[Float[Tensor, " inside"]]:
    """The values of each channel inside the field of view, as copies; a constant channel is logged as a warning."""
    mask = mask_of(sample)
    channels = [channel[mask] for channel in sample.image]
    for index, values in enumerate(channels):
        if values.min() == values.max():
            logger.warning("Case %r: channel %d is constant (%g).", sample.case, index, float(values[0]))
    return channels


def compose(sample: Sample, channels: Sequence[Float[Tensor, " inside"]]) -> Sample:
    """``sample`` with the given values inside its field of view, and 0 outside; everything else as it was."""
    mask = mask_of(sample)
    image = torch.zeros_like(sample.image)
    for target, values in zip(image, channels, strict=True):
        target[mask] = values.to(image.dtype)
    return sample.replace(image=image)
