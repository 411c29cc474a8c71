"""Grey levels moved so that their distribution is the mean one of the source.

A classic repair of brightness and contrast. Of each source image the cumulative histogram inside the field of view is
taken; their mean, every image counting once, is the target. A test image's value v becomes the value at which the
target reaches v's rank. Ranks are taken over a whole volume, so that a strictly increasing change of all its grey
levels is undone exactly, as far as float32 keeps levels apart.

The target is kept as 4,096 values of equal share: cumulative histograms are exact to 1/4,096, levels of 8- or 16-bit
images stay levels, and state holds no pixels' places. Values of the same level share the middle of their ranks, where
scikit-image's ``match_histograms`` takes the last: a black border that fills 40 % of the test image and 35 % of the
source stays black here and becomes grey there. Without such ties both agree.

Color images are matched in CIE-Lab lightness, hue and chroma kept (``color: lightness``), or each channel by itself
(``channels``). 0 outside the field of view. A constant image, which is logged as a warning, gets the source's median.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.errors import BundleError, DataError
from unshift.normalizations.inside import channels_inside, compose
from unshift.normalizations.lightness import lightness, relight
from unshift.normalizations.quantiles import middles, quantiles
from unshift.sample import Sample

LEVELS = 4096
_SHARES = middles(LEVELS)
_STATE = "quantiles"


class HistogramMatchingConfig(Config):
    """``color`` is read for images with three channels only."""

    color: Literal["lightness", "channels"] = "lightness"


class HistogramMatching(Normalization):
    """Lightness or channels with the source's mean cumulative histogram."""

    Config = HistogramMatchingConfig

    def __init__(self, config: HistogramMatchingConfig) -> None:
        super().__init__(config)
        self._levels: Float[Tensor, "channel level"] | None = None

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Average the cumulative histograms of source images.

        Raises:
            DataError: no sample, an empty field of view, or images with different numbers of channels.
        """
        found: list[Float[Tensor, "channel level"]] = []
        for sample in samples:
            grey = sample.replace(image=lightness(sample)) if self._is_color(sample) else sample
            levels = torch.stack([quantiles(values, _SHARES).float().cpu() for values in channels_inside(grey)])
            if found and len(levels) != len(found[0]):
                raise DataError(
                    f"Case {sample.case!r}: {len(levels)} channels to match and {len(found[0])} in the images "
                    "before; all images of the source must have the same."
                )
            found.append(levels)
        if not found:
            raise DataError("histogram_matching: no source image to match; at least one is required.")
        self._levels = torch.stack([quantiles(pooled, _SHARES) for pooled in torch.cat(found, dim=1)])
        return self

    def views(self, sample: Sample) -> list[Sample]:
        """One view, in the source's units.

        Raises:
            DataError: not fitted; other channels than the source's; the field of view is empty; lightness is asked of
                a color image beyond [0, 1].
        """
        return [relight(sample, self._match) if self._is_color(sample) else self._match(sample)]

    def state_dict(self) -> dict[str, Tensor]:
        """float32 [channel, 4096]: the source's values at the middles of 4,096 equal shares, ascending."""
        return {} if self._levels is None else {_STATE: self._levels}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`."""
        levels = state.get(_STATE)
        if set(state) != {_STATE} or levels is None or levels.shape[1:] != (LEVELS,):
            raise BundleError(
                f"histogram_matching: found state {[(name, list(value.shape)) for name, value in state.items()]}; "
                f"{_STATE} [channel, {LEVELS}] is required. Use the bundle with the version that wrote it."
            )
        self._levels = levels

    def _is_color(self, sample: Sample) -> bool:
        return len(sample.image) == 3 and self.config.color == "lightness"

    def _match(self, sample: Sample) -> Sample:
        if self._levels is None:
            raise DataError("histogram_matching: not fitted; fit it on source images, or load its state.")
        if len(sample.image) != len(self._levels):
            raise DataError(
                f"Case {sample.case!r}: {len(sample.image)} channels to match; the source had {len(self._levels)}. "
                "Give images of the same kind."
            )
        channels = zip(channels_inside(sample), self._levels.to(sample.image.device), strict=True)
        return compose(sample, [_values_at(_ranks(values), levels) for values, levels in channels])


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Share of values below each value plus half the share equal to it, float64 in (0, 1)."""
    ordered, values = values.sort().values, values.contiguous()
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(values))


def _values_at(ranks: Float[Tensor, " n"], levels: Float[Tensor, " level"]) -> Float[Tensor, " n"]:
    """Linear between the middles of the shares, constant beyond the first and the last."""
    position = (ranks * LEVELS - 0.5).clamp(0, LEVELS - 1)
    lower = position.long().clamp_max(LEVELS - 2)
    exact = levels.double()
    return torch.lerp(exact[lower], exact[lower + 1], position - lower)


MEMBER = HistogramMatching
