"""Optimize a test image's pixels until its texture statistics in VGG-16 are those of a source image.

Ma, Ji and Gao, "Neural Style Transfer Improves 3D Cardiovascular MR Image Segmentation on Inconsistent Data", MICCAI
2019 (StyleSegor; a rival in DINSeg). With F a feature as [channel, place], G = F Fᵀ / (channels · places). The loss is
10⁶ times the sum over relu1_2, relu2_2, relu3_3 and relu4_3 of the mean squared difference of G, plus the mean squared
difference of relu3_3 to the test image's own. L-BFGS begins with the test image and looks 60 times (the code stops
after 50 and counts in twenties).

Differences from the authors' code. It shows grey images to VGG in viridis colors; here a channel is repeated three
times and averaged back. It cuts the upper tail where a smoothed density falls below 1 % of its peak; here both tails
are cut at a share of values, of a whole volume, before they are stretched to [0, 1]. It stretches what it made to
8 bits; here the result is clipped to [0, 1] and moved to the source's mean range. It keeps the last iterate; here the
best one that was looked at, since steps without line search may overshoot. Field of view: cells of a feature count by
the share of them that lies inside, and pixels outside are 0. Of an image that is resized, the change is resized back
and added, which keeps its detail. A constant slice stays as it is.

State holds weights and, per style image, Gram matrices and a histogram: no pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.errors import BundleError, DataError
from unshift.normalizations.inside import channels_inside, compose, mask_of
from unshift.normalizations.pictures import from_pictures, groups_of, resize, spread, to_pictures
from unshift.normalizations.quantiles import middles, quantiles
from unshift.normalizations.vgg import Vgg, load_vgg, vgg_files, vgg_from_state
from unshift.sample import Sample

STRIDES = {"relu1_2": 1, "relu2_2": 2, "relu3_3": 4, "relu4_3": 8}
CONTENT_TAP = "relu3_3"
BLOCKS = 4
_SHARES = middles(256)
_SLICES = 8
_NETWORK = "network."
_GRAM = "gram."


class StyleSegorConfig(Config):
    """``style``: of the source image with the ``nearest`` histogram (Wasserstein distance; the paper), of the ``first``
    one (the code: one for all), or the ``mean`` Gram matrices of ``style_images``, evenly spread over the source.

    ``width``: the shorter side while pixels are optimized, larger or smaller than the image's; null is the image's own,
    which is many times faster for small images. ``weights``: ``torchvision``, a file, or null for what is at hand (see
    ``unshift.normalizations.vgg``). ``standardize`` takes ImageNet's mean and deviation out first, which those weights
    expect and the published code does not. ``tail``: share of values cut at either end.
    """

    weights: Literal["torchvision"] | Path | None = None
    standardize: bool = False
    style: Literal["nearest", "first", "mean"] = "nearest"
    style_images: int = Field(default=8, ge=1)
    width: int | None = Field(default=512, ge=8)
    evaluations: int = Field(default=60, ge=1)
    style_weight: float = Field(default=1e6, gt=0)
    content_weight: float = Field(default=1.0, ge=0)
    tail: float = Field(default=0.005, ge=0, lt=0.5)


class StyleSegor(Normalization):
    """Gram matrices of the source by L-BFGS on each test image's pixels."""

    Config = StyleSegorConfig

    def __init__(self, config: StyleSegorConfig) -> None:
        super().__init__(config)
        self._vgg: Vgg | None = None
        self._style: dict[str, Tensor] = {}

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """The file of weights, the one found in a cache too."""
        return vgg_files("vgg16", config.weights)

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Read the weights, and the Gram matrices of source images.

        Raises:
            DataError: no sample, an empty field of view, unequal numbers of channels; no weights at hand.
            BundleError: a file of weights that does not fit.
        """
        config = self.config
        self._vgg, self.origin = load_vgg("vgg16", config.weights, blocks=BLOCKS, standardize=config.standardize)
        chosen = spread(samples, 1 if config.style == "first" else config.style_images)
        if not chosen:
            raise DataError("style_segor: no source image to take the style from; at least one is required.")
        found = [self._describe(sample) for sample in chosen]
        for sample, one in zip(chosen, found, strict=True):
            if len(one["range"]) != len(found[0]["range"]):
                raise DataError(
                    f"Case {sample.case!r}: {len(sample.image)} channels, and {len(chosen[0].image)} in case "
                    f"{chosen[0].case!r}; all images of the source must have the same."
                )
        style = {name: torch.stack([one[name] for one in found]) for name in found[0]}
        if config.style == "mean":
            style = {name: values.mean(0, keepdim=True) for name, values in style.items()}
        self._style = {**style, "range": style["range"].mean(0)}
        return self

    def views(self, sample: Sample) -> list[Sample]:
        """One view in the source's range; 0 outside the field of view.

        Raises:
            DataError: not fitted; other channels than the source's; the field of view is empty.
            ShapeMismatch: an image below 8 × 8 where ``width`` does not enlarge it.
        """
        if self._vgg is None:
            raise DataError("style_segor: not fitted; fit it on source images, or load its state.")
        scaled, _ = self._stretch(sample)
        limits = self._style["range"].to(scaled.image.device)
        if len(groups_of(sample.image)) != len(limits):
            raise DataError(
                f"Case {sample.case!r}: {len(sample.image)} channels in {len(groups_of(sample.image))} pictures; the "
                f"source had {len(limits)}. Give images of the same kind."
            )
        pictures, masks = to_pictures(scaled)
        grams = self._grams_for(scaled)
        results = pictures.clone()
        for group, slices in enumerate(pictures):
            targets = {tap: gram[group].to(scaled.image.device) for tap, gram in grams.items()}
            for index, (picture, mask) in enumerate(zip(slices, masks, strict=True)):
                if mask.any() and picture[:, mask].min() < picture[:, mask].max():
                    results[group, index] = self._transfer(picture, mask, targets)
        low, high = (limits[:, end].view(-1, 1, 1, 1, 1) for end in (0, 1))
        image = from_pictures(results.clamp(0, 1) * (high - low) + low, sample.image)
        return [compose(sample, [channel[mask_of(sample)] for channel in image])]

    def state_dict(self) -> dict[str, Tensor]:
        """Gram matrices [style, group, channel, channel], histograms, the source's range, and VGG's weights."""
        if self._vgg is None:
            return {}
        return {**self._style, **{_NETWORK + name: value for name, value in self._vgg.state_dict().items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; needs no file."""
        weights = {n.removeprefix(_NETWORK): v for n, v in state.items() if n.startswith(_NETWORK)}
        style = {name: value for name, value in state.items() if not name.startswith(_NETWORK)}
        wanted = {*(_GRAM + tap for tap in STRIDES), "histogram", "range"}
        if wanted != style.keys():
            raise BundleError(
                f"style_segor: state lacks {sorted(wanted - style.keys())} and has unknown "
                f"{sorted(style.keys() - wanted)}. Use the version that wrote it."
            )
        self._vgg = vgg_from_state(
            "vgg16", weights, where="style_segor: state", blocks=BLOCKS, standardize=self.config.standardize
        )
        self._style = style

    # ---------------------------------------------------------------------------------------------------- source

    @torch.no_grad()
    def _describe(self, sample: Sample) -> dict[str, Tensor]:
        """Of one source image, by group: Gram matrices (of a volume, the mean over slices), histogram and range."""
        scaled, limits = self._stretch(sample)
        pictures, masks = to_pictures(scaled)
        present = masks.flatten(1).any(1).nonzero().flatten()
        looked_at = present[:: -(-len(present) // _SLICES)]
        groups = [[self._grams(*self._resized(slices[i], masks[i])) for i in looked_at] for slices in pictures]
        grams = {
            _GRAM + tap: torch.stack([torch.stack([one[tap] for one in group]).mean(0) for group in groups]).cpu()
            for tap in STRIDES
        }
        return {**grams, "histogram": _histograms(scaled), "range": limits.cpu()}

    def _grams_for(self, scaled: Sample) -> dict[str, Float[Tensor, "group c c"]]:
        """Of the one style, or of the source image whose histogram is nearest."""
        distances = (self._style["histogram"] - _histograms(scaled)).abs().mean((1, 2))
        return {tap: self._style[_GRAM + tap][int(distances.argmin())] for tap in STRIDES}

    def _stretch(self, sample: Sample) -> tuple[Sample, Float[Tensor, "group 2"]]:
        """The image with each group's tails cut and its range moved to [0, 1], 0 outside; and what the range was."""
        shares = torch.tensor([self.config.tail, 1 - self.config.tail], dtype=torch.float64)
        groups = groups_of(torch.stack(channels_inside(sample)))
        limits = torch.stack([quantiles(group.flatten(), shares) for group in groups])
        low, extent = limits[:, :1, None], (limits[:, 1:] - limits[:, :1])[..., None]
        scaled = ((groups - low) / torch.where(extent > 0, extent, 1)).clamp(0, 1)
        return compose(sample, list(scaled.flatten(0, 1))), limits

    # ------------------------------------------------------------------------------------------------- one picture

    def _transfer(
        self, picture: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"], targets: Mapping[str, Float[Tensor, "c c"]]
    ) -> Float[Tensor, "3 h w"]:
        begin, inside = self._resized(picture, mask)
        with torch.no_grad():
            content = self._features(begin)[CONTENT_TAP]
        best, least = begin, float("inf")
        with torch.enable_grad():
            image = begin.clone().requires_grad_()
            optimizer = torch.optim.LBFGS(
                [image], max_iter=self.config.evaluations, max_eval=self.config.evaluations, line_search_fn=None
            )

            def evaluate() -> Tensor:
                nonlocal best, least
                loss = self._loss(image, inside, content, targets)
                [gradient] = torch.autograd.grad(loss, [image])
                image.grad = gradient * inside
                if (value := float(loss.detach())) < least:
                    best, least = image.detach().clone(), value
                return loss.detach()

            optimizer.step(evaluate)  # type: ignore[no-untyped-call]
        return picture + resize(best - begin, inside, (picture.shape[1], picture.shape[2]))[0]

    def _loss(self, image: Tensor, inside: Tensor, content: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        features = self._features(image)
        style = [F.mse_loss(gram(features[tap], _share(inside, tap)), target) for tap, target in targets.items()]
        share = _share(inside, CONTENT_TAP)
        kept = ((features[CONTENT_TAP] - content).square() * share).sum() / (share.sum() * content.shape[1])
        return self.config.style_weight * torch.stack(style).sum() + self.config.content_weight * kept

    def _grams(self, picture: Tensor, inside: Tensor) -> dict[str, Float[Tensor, "c c"]]:
        features = self._features(picture)
        return {tap: gram(features[tap], _share(inside, tap)) for tap in STRIDES}

    def _features(self, picture: Float[Tensor, "3 h w"]) -> dict[str, Tensor]:
        assert self._vgg is not None
        return self._vgg.to(picture.device)(picture[None], STRIDES)

    def _resized(self, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        height, width = mask.shape
        factor = 1 if self.config.width is None else self.config.width / min(height, width)
        picture, inside = resize(picture, mask, (round(height * factor), round(width * factor)))
        return picture * inside, inside


def gram(feature: Float[Tensor, "1 c h w"], share: Float[Tensor, "h w"]) -> Float[Tensor, "c c"]:
    """F Fᵀ / (c · h · w) when ``share`` is 1 everywhere; else each place, and h · w, counts by its share."""
    flat = feature[0].flatten(1)
    return (flat * share.flatten()) @ flat.T / (len(flat) * share.sum())


def _share(inside: Bool[Tensor, "y x"], tap: str) -> Float[Tensor, "h w"]:
    """How much of each cell of the feature ``tap`` lies inside."""
    share = F.avg_pool2d(inside[None].float(), STRIDES[tap])[0]
    return share if share.any() else torch.ones_like(share)


def _histograms(scaled: Sample) -> Float[Tensor, "group 256"]:
    """Of each group: the L1 distance of two is the Wasserstein distance of the distributions."""
    groups = groups_of(scaled.image[:, mask_of(scaled)])
    return torch.stack([quantiles(group.flatten(), _SHARES) for group in groups]).cpu()


MEMBER = StyleSegor
