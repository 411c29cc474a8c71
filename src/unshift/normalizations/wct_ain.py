"""Photorealistic transfer of the source's style: a wavelet autoencoder with AdaIN between its levels.

Liu et al., "Remove Appearance Shift for Ultrasound Image Segmentation via Fast and Universal Style Transfer", ISBI
2020 (WaveCT-AIN): WCT2's network (:mod:`unshift.normalizations.wavelet`), whose whitening and coloring is replaced by
channel statistics, ``(f - mean) / (deviation + 1e-6) * style deviation + style mean``, at the levels of the decoder.
``levels`` may add the encoder's and the three high bands of each skip, as WCT2's README does.

Differences: statistics are taken inside the field of view (cells of a coarse level count by the share of them that
lies inside) with biased deviations; outside, the image is continued by mirroring, since a black surround is an edge
that restyled features spread over the picture, and the result is 0. A channel that is constant in the image becomes the
style's mean. Images of any size are padded by reflection, not cropped; ones longer than ``longest`` are transferred at
that size and changed by the enlarged difference, which keeps their detail. The style is the mean of many source images'
statistics by default; the paper's rule for its one style image is not public. Images with other than three channels are
treated channel by channel as grey ones, volumes slice by slice. Where all source images lie in [0, 1], test images must
and results do; in other units, the 0.5th and 99.5th percentiles of an image are moved to 0 and 1 before, and to the
source's mean percentiles afterwards.

Weights: a file of ``unshift prepare wct_ain``. State holds these weights and the source's statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.errors import BundleError, ConfigError, DataError
from unshift.geometry import resize_image
from unshift.normalizations.inside import channels_inside, compose, mask_of
from unshift.normalizations.pictures import from_pictures, resize, spread, to_pictures
from unshift.normalizations.vgg import cache_folder
from unshift.normalizations.wavelet import DIVISOR, WaveletAutoencoder, from_state, load_autoencoder
from unshift.sample import Sample

EPSILON = 1e-6
DEAD = 1e-3
"""A channel whose deviation is a smaller share of the style's holds rounding errors: it becomes the style's mean."""
Level = Literal["encoder", "skip", "decoder"]
Statistics = dict[str, tuple[Tensor, Tensor]]
_PERCENTILES = (0.005, 0.995)
_NETWORK = "network."


class WctAinConfig(Config):
    """The README's command; ``weights: null`` is ``wct_ain.safetensors`` in the cache folder.

    ``style``: statistics of the ``first`` source image, the ``mean`` over images, or the ``medoid``, the image whose
    statistics are nearest to that mean. ``style_images``: of the source, evenly spread, are looked at. ``strength``
    blends each restyled feature with the original one; at 0 the image is only reconstructed.
    """

    weights: Path | None = None
    levels: tuple[Level, ...] = Field(default=("decoder",), min_length=1)
    style: Literal["first", "mean", "medoid"] = "mean"
    style_images: int = Field(default=32, ge=1)
    strength: float = Field(default=1.0, ge=0, le=1)
    longest: int = Field(default=512, ge=DIVISOR)


class WctAin(Normalization):
    """The source's channel statistics in the levels of a wavelet autoencoder."""

    Config = WctAinConfig

    def __init__(self, config: WctAinConfig) -> None:
        super().__init__(config)
        self._network: WaveletAutoencoder | None = None
        self._style: Statistics = {}
        self._range = torch.zeros(2)

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """The file of weights, the cached one too."""
        path = _weights(config)
        return (path,) if path.is_file() else ()

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Read the weights, and the statistics of source images.

        Raises:
            ConfigError: no weights; says the command that makes them.
            DataError: no sample, or an empty field of view.
        """
        path = _weights(self.config)
        if not path.is_file():
            raise ConfigError(
                f"wct_ain: no weights at {path}. Train them once with `unshift prepare wct_ain --content FOLDER`, "
                "where FOLDER holds photographs, or name a file it wrote: `weights: PATH`."
            )
        self._network, self.origin = load_autoencoder(path)
        chosen = spread(samples, 1 if self.config.style == "first" else self.config.style_images)
        if not chosen:
            raise DataError("wct_ain: no source image to take the style from; at least one is required.")
        ranges = [_percentiles(sample) for sample in chosen]
        self._range = torch.tensor([0.0, 1.0]) if all(_is_unit(s) for s in chosen) else torch.stack(ranges).mean(0)
        collected = [self._statistics(sample) for sample in chosen]
        self._style = _medoid(collected) if self.config.style == "medoid" else _mean(collected)
        return self

    def views(self, sample: Sample) -> list[Sample]:
        """One view; 0 outside the field of view.

        Raises:
            DataError: not fitted; the source's images lie in [0, 1] and this one does not; the field of view is empty.
        """
        if self._network is None:
            raise DataError("wct_ain: not fitted; fit it on source images, or load its state.")
        scaled = self._scaled(sample)
        pictures, masks = to_pictures(scaled)
        results = torch.zeros_like(pictures)
        for index in _inside(masks):
            for group, picture in enumerate(pictures[:, index]):
                results[group, index] = self._transfer(picture, masks[index])
        image = from_pictures(results, like=sample.image)
        low, high = self._range.to(image.device).unbind()
        mask = mask_of(sample)
        return [compose(sample, [channel[mask] * (high - low) + low for channel in image.clamp(0, 1)])]

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, the intensity range and the style's mean and deviation at each level."""
        if self._network is None:
            return {}
        state = {f"style.{name}": torch.stack(pair) for name, pair in self._style.items()}
        return {**state, "range": self._range, **{_NETWORK + n: v for n, v in self._network.state_dict().items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; needs no file."""
        if not state and self._network is None:
            return
        weights = {n.removeprefix(_NETWORK): v for n, v in state.items() if n.startswith(_NETWORK)}
        network = from_state(weights, where="wct_ain: state")
        names = _names(network, self.config.levels)
        wanted = {*(f"style.{name}" for name in names), "range"}
        found = {name for name in state if not name.startswith(_NETWORK)}
        if wanted != found:
            raise BundleError(
                f"wct_ain: state lacks {sorted(wanted - found)} and has unknown {sorted(found - wanted)}. "
                "Use the settings and the version that wrote it."
            )
        self._style = {name: (state[f"style.{name}"][0], state[f"style.{name}"][1]) for name in names}
        self._range, self._network = state["range"], network

    # -------------------------------------------------------------------------------------------------- one image

    def _scaled(self, sample: Sample) -> Sample:
        """The image with the source's range, or else its own percentiles, at 0 and 1; clipped to them."""
        low, high = self._range.tolist()
        if (low, high) == (0, 1) and not _is_unit(sample):
            raise DataError(
                f"Case {sample.case!r}: values in {float(sample.image.min()):g} … {float(sample.image.max()):g}; the "
                "source's images lie in 0 … 1. Give both the same preprocessing."
            )
        if (low, high) != (0, 1):
            low, high = _percentiles(sample).tolist()
        return sample.replace(image=((sample.image - low) / (high - low if high > low else 1)).clamp(0, 1))

    @torch.no_grad()
    def _statistics(self, sample: Sample) -> Statistics:
        """Of one source image: those of its pictures, averaged."""
        pictures, masks = to_pictures(self._scaled(sample))
        found = []
        for index in _inside(masks):
            for picture in pictures[:, index]:
                image, mask = self._shrunk(mirrored(picture, masks[index]), masks[index])
                recorder = _Recorder(self.config.levels, mask)
                self._on(image.device)(_padded(image)[None], recorder)
                found.append(recorder.seen)
        return _mean(found)

    @torch.no_grad()
    def _transfer(self, picture: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
        picture = mirrored(picture, mask)
        image, inside = self._shrunk(picture, mask)
        network = self._on(image.device)

        def visit(name: str, feature: Tensor) -> Tensor:
            if name not in self._style:
                return feature
            mean, deviation = _moments(feature, inside)
            to = tuple(value.to(feature).view(1, -1, 1, 1) for value in self._style[name])
            restyled = (feature - mean) / (deviation + EPSILON) * to[1] + to[0]
            restyled = torch.where(deviation < DEAD * to[1], to[0], restyled)
            return torch.lerp(feature, restyled, self.config.strength)

        result = network(_padded(image)[None], visit)[0, :, : image.shape[1], : image.shape[2]]
        if image.shape == picture.shape:
            return result
        return picture + resize_image(result - image, tuple(picture.shape[1:]))

    def _shrunk(self, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both at no more than ``longest`` pixels a side."""
        share = self.config.longest / max(picture.shape[1:])
        height, width = (max(1, round(n * share)) for n in picture.shape[1:])
        return resize(picture, mask, (height, width)) if share < 1 else (picture, mask)

    def _on(self, device: torch.device) -> WaveletAutoencoder:
        assert self._network is not None
        return self._network.to(device)


def _weights(config: WctAinConfig) -> Path:
    return config.weights or cache_folder() / "wct_ain.safetensors"


def _is_at(name: str, levels: Sequence[Level]) -> bool:
    """Whether a feature is restyled; what left the encoder restyled is not restyled again on entering the decoder."""
    kind = name.partition("_")[0]
    return kind in levels and not (name == "decoder_4" and "encoder" in levels)


class _Recorder:
    """A visitor that keeps the statistics of the features at ``levels``, one mean and deviation a channel."""

    def __init__(self, levels: tuple[Level, ...], mask: Bool[Tensor, "h w"]) -> None:
        self.levels, self.mask = levels, mask
        self.seen: Statistics = {}

    def __call__(self, name: str, feature: Tensor) -> Tensor:
        if _is_at(name, self.levels):
            mean, deviation = _moments(feature, self.mask)
            self.seen[name] = (mean.flatten().cpu(), deviation.flatten().cpu())
        return feature


@torch.no_grad()
def _names(network: WaveletAutoencoder, levels: tuple[Level, ...]) -> list[str]:
    """What :class:`_Recorder` would find."""
    recorder = _Recorder(levels, torch.ones(DIVISOR, DIVISOR, dtype=torch.bool))
    network(network.mean.new_zeros(1, 3, DIVISOR, DIVISOR), recorder)
    return list(recorder.seen)


def _moments(feature: Float[Tensor, "1 c h w"], mask: Bool[Tensor, "y x"]) -> tuple[Tensor, Tensor]:
    """Mean and biased deviation of each channel, cells weighted by the share of their pixels that lies inside."""
    stride = -(-mask.shape[0] // DIVISOR) * DIVISOR // feature.shape[2]
    height, width = (stride * n for n in feature.shape[2:])
    inside = F.pad(mask.to(feature), (0, width - mask.shape[1], 0, height - mask.shape[0]))
    share = F.avg_pool2d(inside[None, None], stride)
    share = share / share.sum()
    mean = (feature * share).sum((2, 3), keepdim=True)
    variance = ((feature - mean).square() * share).sum((2, 3), keepdim=True)
    return mean, variance.sqrt()


def mirrored(picture: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "c h w"]:
    """The picture continued outside its mask: each pixel is mirrored at the nearest one inside, or takes its value.

    A black surround would be an edge, whose features outside all statistics spread into the picture when restyled.
    """
    if mask.all():
        return picture
    here = np.indices(mask.shape)
    nearest = distance_transform_edt(~mask.cpu().numpy(), return_distances=False, return_indices=True)
    limits = np.array(mask.shape).reshape(2, 1, 1) - 1
    beyond = torch.from_numpy(np.clip(2 * nearest - here, 0, limits)).to(picture.device)
    at = torch.from_numpy(nearest).to(picture.device)
    rows, columns = torch.where(mask[beyond[0], beyond[1]], beyond, at)
    return picture[:, rows, columns]


def _padded(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 height width"]:
    """Reflected at the bottom and the right up to multiples of 16; images thinner than what is missing repeat."""
    for axis in (1, 2):
        size = image.shape[axis]
        missing = -size % DIVISOR
        period = torch.arange(size + missing) % max(2 * size - 2, 1)
        image = image.index_select(axis, torch.minimum(period, 2 * size - 2 - period).to(image.device))
    return image


def _inside(masks: Bool[Tensor, "slice h w"]) -> list[int]:
    """Slices that show anything."""
    return masks.flatten(1).any(1).nonzero().flatten().tolist()


def _is_unit(sample: Sample) -> bool:
    inside = sample.image[:, mask_of(sample)]
    return bool(inside.min() >= 0 and inside.max() <= 1)


def _percentiles(sample: Sample) -> Float[Tensor, " 2"]:
    values = torch.cat(channels_inside(sample)).double().sort().values
    positions = [round(share * (len(values) - 1)) for share in _PERCENTILES]
    return values[positions].float().cpu()


def _mean(collected: list[Statistics]) -> Statistics:
    return {
        name: (
            torch.stack([one[name][0] for one in collected]).mean(0),
            torch.stack([one[name][1] for one in collected]).mean(0),
        )
        for name in collected[0]
    }


def _medoid(collected: list[Statistics]) -> Statistics:
    """The statistics nearest to the mean ones; each level counts by its distance relative to the mean's size."""
    middle = _mean(collected)

    def distance(one: Statistics) -> float:
        parts = (
            (torch.stack(one[name]) - torch.stack(middle[name])).norm() / torch.stack(middle[name]).norm().clamp_min(1)
            for name in middle
        )
        return float(sum(parts))

    return min(collected, key=distance)


MEMBER = WctAin
