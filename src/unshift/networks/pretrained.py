"""Where weights begin: from scratch, from a file, or from ImageNet; never partly, and never silently otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # the class alone: torch raises it for a file that its safe loader refuses
from typing import Literal, Self, TypeVar
from urllib.error import URLError

import torch
from pydantic import model_validator
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Network
from unshift.errors import DataError
from unshift.weights import IMAGENET_DEVIATION, IMAGENET_MEAN, load_exactly, read_weights

AnyConfig = TypeVar("AnyConfig", bound=Config)


class WeightsConfig(Config):
    """``weights``: a file with all weights of this network as unshift names them, or None to begin from scratch."""

    weights: Path | None = None


class EncoderWeightsConfig(WeightsConfig):
    """Where the encoder's, or all, weights come from.

    ``pretrained: imagenet`` asks the library's hub or an installed package. ``weights`` is a file instead: of the
    encoder alone, or (``weights_of: network``) of the whole network, in the library's own names. The file does not say
    how its images were standardized, so ``mean`` and ``deviation`` (a channel each) are required with it.
    """

    pretrained: Literal["none", "imagenet"] = "none"
    weights_of: Literal["encoder", "network"] = "encoder"
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.weights is not None and self.pretrained != "none":
            raise ValueError(f"both pretrained: {self.pretrained} and weights: {self.weights} are set; keep one")
        if self.weights is None and (self.mean or self.deviation or self.weights_of != "encoder"):
            raise ValueError("mean, deviation and weights_of describe a weights file; give weights, or remove them")
        if self.weights is not None and (self.mean is None or self.deviation is None):
            raise ValueError(
                "weights needs mean and deviation, with which the file's images were standardized "
                f"(ImageNet: {list(IMAGENET_MEAN)} and {list(IMAGENET_DEVIATION)}; none: [0, 0, 0] and [1, 1, 1])"
            )
        if self.deviation is not None and min(self.deviation) <= 0:
            raise ValueError(f"deviation is {self.deviation}; every entry must be above 0")
        return self


def from_scratch(config: AnyConfig) -> AnyConfig:
    """The same architecture with nothing to load: for a bundle or a checkpoint, which bring the weights."""
    names = EncoderWeightsConfig.model_fields.keys() & type(config).model_fields.keys()
    return config.model_copy(update={name: EncoderWeightsConfig.model_fields[name].default for name in names})


def begin_from_file(network: Network, path: Path | None) -> None:
    """Load all of ``network``, its standardization included, from ``path``; None leaves it as it is."""
    if path is not None:
        load_exactly(network, read_weights(path), where=str(path))
        network.origin = f"weights file {path.name}"


def begin_standardized(network: Network, origin: str, mean: Sequence[float], deviation: Sequence[float]) -> None:
    """Note where the weights came from, and standardize as they expect.

    With another number of channels than the statistics have, every channel gets their average: see :func:`fit_stem`.
    """
    network.origin = origin
    for buffer, values in ((network.input_mean, mean), (network.input_deviation, deviation)):
        given = torch.tensor(values, dtype=buffer.dtype)
        buffer.copy_(given if len(given) == len(buffer) else given.mean().expand_as(buffer))


def fit_stem(state: Mapping[str, Tensor], name: str, channels: int) -> dict[str, Tensor]:
    """``state`` with the first convolution changed to take ``channels`` channels.

    Its kernel is averaged over its input channels and scaled so that an image whose channels are all equal gives the
    same response as before: on one channel the sum over red, green and blue.
    """
    kernel = state.get(name)
    if kernel is None or kernel.shape[1] == channels:
        return dict(state)
    fitted = kernel.mean(1, keepdim=True) * (kernel.shape[1] / channels)
    return {**state, name: fitted.expand(-1, channels, *kernel.shape[2:]).contiguous()}


def download(url: str, *, encoder: str) -> dict[str, Tensor]:
    """Weights from ``url`` (cached by torch.hub; the hash in the file's name is verified).

    Raises:
        DataError: the address cannot be reached, or what came is not the file it should be.
    """
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError, UnpicklingError) as error:
        raise unreachable(encoder, url, error) from None


def unreachable(encoder: str, source: str, error: BaseException) -> DataError:
    """The error for ImageNet weights that cannot be had, with the ways on."""
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"ImageNet weights of {encoder}: could not be fetched from {source} ({reason}). Connect to the network; or get "
        "the file elsewhere and set `weights: PATH`; or use the encoder efficientnet-lite0, whose weights are "
        "installed; or set `pretrained: none` to begin from scratch."
    )
