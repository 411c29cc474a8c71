"""Grey levels spread so that all are equally frequent, over the image or tile by tile (CLAHE).

A classic repair of brightness and contrast, and a baseline of DINSeg (which does not say whether it was global or
adaptive: both are here). It equalizes whatever is in the image, content included.

``global``: each value becomes the share of values inside the field of view that do not exceed it, over a whole
volume. The distribution is the exact one, not one of bins, so that any strictly increasing change of grey levels is
undone exactly; of 8-bit images it is the textbook's. ``contrast_limited``: Zuiderveld's CLAHE of scikit-image, in
tiles of an eighth of each side, slice by slice for volumes (each stretched to its own range); outside the field of
view its tiles see the lowest value inside. Color images are equalized in CIE-Lab lightness, hue and chroma kept
(``color: lightness``), or each channel by itself (``channels``). The result is in [0, 1], 0 outside the field of
view. A constant channel becomes 0, a color image of constant lightness stays as it is; both are logged as a warning.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from skimage.exposure import equalize_adapthist

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.normalizations.inside import channels_inside, compose, mask_of
from unshift.normalizations.lightness import lightness, relight
from unshift.sample import Sample


class HistogramEqualizationConfig(Config):
    """``clip_limit`` (0 … 1, larger is more contrast) is read by ``contrast_limited`` only."""

    method: Literal["global", "contrast_limited"] = "global"
    color: Literal["lightness", "channels"] = "lightness"
    clip_limit: float = Field(default=0.01, gt=0, le=1)


class HistogramEqualization(Normalization):
    """Equalized lightness or channels, per image."""

    Config = HistogramEqualizationConfig

    def views(self, sample: Sample) -> list[Sample]:
        """One view, float32 in [0, 1].

        Raises:
            DataError: the field of view is empty; lightness is asked of a color image beyond [0, 1].
        """
        if len(sample.image) == 3 and self.config.color == "lightness":
            [values] = channels_inside(sample.replace(image=lightness(sample)))
            if values.min() == values.max():
                return [compose(sample, [channel[mask_of(sample)] for channel in sample.image])]
            return [relight(sample, self._equalize)]
        return [self._equalize(sample)]

    def _equalize(self, sample: Sample) -> Sample:
        spread = _ranks if self.config.method == "global" else self._spread_tiles
        results = []
        for channel, values in zip(sample.image, channels_inside(sample), strict=True):
            is_constant = bool(values.min() == values.max())
            results.append(torch.zeros_like(values) if is_constant else spread(channel, mask_of(sample)))
        return compose(sample, results)

    def _spread_tiles(self, channel: Float[Tensor, "*space"], mask: Bool[Tensor, "*space"]) -> Float[Tensor, " inside"]:
        inside = channel[mask].double()
        scaled = (channel.double() - inside.min()) / (inside.max() - inside.min())
        array = torch.where(mask, scaled, 0.0).cpu().numpy()
        planes = array if array.ndim == 3 else array[None]
        # an empty slice has nothing to spread, and scikit-image would divide by its range of zero
        spread = [p if p.min() == p.max() else equalize_adapthist(p, clip_limit=self.config.clip_limit) for p in planes]
        return torch.from_numpy(np.stack(spread).reshape(array.shape)).to(mask.device)[mask]


def _ranks(channel: Float[Tensor, "*space"], mask: Bool[Tensor, "*space"]) -> Float[Tensor, " inside"]:
    """The empirical distribution function of the values inside, at those values."""
    inside = channel[mask].contiguous()
    return torch.searchsorted(inside.sort().values, inside, right=True).double() / inside.numel()


MEMBER = HistogramEqualization
