"""Change how light a color image is and keep its hue and chroma: shared by what works on histograms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

from unshift.errors import DataError
from unshift.normalizations.inside import compose, mask_of
from unshift.sample import Sample


def lightness(sample: Sample) -> Float[Tensor, "1 *space"]:
    """CIE-Lab lightness in [0, 1] of an RGB image in [0, 1].

    Raises:
        DataError: values beyond [0, 1].
    """
    return _lab(sample)[:1] / 100


def relight(sample: Sample, change: Callable[[Sample], Sample]) -> Sample:
    """``sample`` with the lightness that ``change`` makes of its own, clipped to RGB's range; 0 outside.

    Args:
        change: from a sample whose image is the lightness, to one whose image is the new lightness, both in [0, 1].

    Raises:
        DataError: values beyond [0, 1].
    """
    lab = _lab(sample)
    changed = change(sample.replace(image=lab[:1] / 100)).image
    rgb = lab_to_rgb(torch.cat([changed * 100, lab[1:]]).movedim(0, -3)).movedim(-3, 0)
    return compose(sample, [channel[mask_of(sample)] for channel in rgb])


def _lab(sample: Sample) -> Float[Tensor, "3 *space"]:
    low, high = float(sample.image.min()), float(sample.image.max())
    if low < 0 or high > 1:
        raise DataError(
            f"Case {sample.case!r}: three channels in {low:g} … {high:g}; a color image is in 0 … 1. "
            "If the channels are no colors, set color: channels."
        )
    return rgb_to_lab(sample.image.movedim(0, -3)).movedim(-3, 0)
