"""Any segmentation network of MONAI by its name, FlexibleUNet with an EfficientNet-B2 encoder by default.

FlexibleUNet + EfficientNet-B2 is the network of the colour-quality paper (there from segmentation_models_pytorch).
FlexibleUNet also takes ``encoder: efficientnet-lite0``, whose ImageNet weights are installed with this package.
FlexibleUNet, BasicUNet, UNet and SegResNet are cut between encoder and decoder, so that features can be looked at
and restyled; other architectures run whole, have no taps, and must be told their ``size_divisor``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from monai.networks import nets
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from pydantic import Field
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, MissingDependency, UnknownName
from unshift.networks.imagenet import begin_on_imagenet, load_encoder
from unshift.networks.monai_split import SPLITS
from unshift.networks.pretrained import EncoderWeightsConfig, begin_standardized, load_exactly, read_weights
from unshift.networks.sizing import check_input, least_factor, measure
from unshift.sample import Task

OURS = ("in_channels", "out_channels", "spatial_dims", "backbone", "pretrained")
_REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)


class MonaiNetConfig(EncoderWeightsConfig):
    """``arguments`` go to the MONAI class as they are; channels and dimensions are filled in."""

    architecture: str = "FlexibleUNet"
    arguments: dict[str, Any] = Field(default_factory=dict)
    encoder: str | None = None
    """FlexibleUNet's encoder (its default here: efficientnet-b2). No other architecture takes one."""
    size_divisor: int | None = Field(default=None, ge=1)
    """For an architecture that is not cut: what every side of its input must be a multiple of."""


class MonaiNet(Network):
    """A MONAI network behind the :class:`Network` contract. ``body`` is the MONAI module.

    The classification heads that MONAI leaves inside its EfficientNet encoders are removed: no output depends on them,
    and DDP stops at parameters without a gradient.
    """

    Config = MonaiNetConfig

    def __init__(self, config: MonaiNetConfig, task: Task, channels: int | None = None) -> None:
        super().__init__(config, task, channels)
        self.body = _build(config, task, self.in_channels)
        split = SPLITS.get(config.architecture)
        self._split = split(self.body) if split else None
        if (self._split is None) == (config.size_divisor is None):
            raise ConfigError(_divisor_problem(config, self._split is not None))
        self.size_divisor = self._split.divisor if self._split else config.size_divisor or 1
        self._taps = self._measure() if self._split else ()
        self._load(config)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """``level_1`` … as measured; empty for an architecture that is not cut."""
        return self._taps

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        check_input(self, images)

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature a tap.

        Raises:
            ConfigError: the architecture is not cut between encoder and decoder.
        """
        if self._split is None:
            raise ConfigError(_not_cut(self.config.architecture))
        return self._split.features(images)

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Features -> logits at the input's size."""
        if self._split is None:
            raise ConfigError(_not_cut(self.config.architecture))
        return self._split.decode(features)

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
        """Images as preprocessing leaves them -> logits.

        Raises:
            ConfigError: the architecture does not return one tensor of logits at the input's size.
        """
        if self._split is not None:
            return super().forward(images)
        check_input(self, images)
        shape = (1, -1) + (1,) * (images.ndim - 2)
        logits = self.body((images - self.input_mean.view(shape)) / self.input_deviation.view(shape))
        expected = (images.shape[0], self.task.num_classes, *images.shape[2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"{self.config.architecture}: its output is {found}; logits {list(expected)} are required. "
                "Switch off deep supervision or further outputs in `arguments`, or choose another architecture."
            )
        return logits

    def _measure(self) -> tuple[Tap, ...]:
        assert self._split is not None
        side = self.size_divisor * least_factor(self)
        dims = self.task.spatial_dims
        return measure(self.body, self._split.features, channels=self.in_channels, side=side, dims=dims)

    def _load(self, config: MonaiNetConfig) -> None:
        encoder = getattr(self.body, "encoder", None) if config.architecture == "FlexibleUNet" else None
        if config.pretrained == "imagenet":
            if encoder is None:
                raise ConfigError(f"{config.architecture}: has no ImageNet weights. Set `pretrained: none`.")
            begin_on_imagenet(self, encoder, config.encoder or DEFAULT_ENCODER)
        if config.weights is None:
            return
        state, where = read_weights(config.weights), str(config.weights)
        if config.weights_of == "network":
            load_exactly(self.body, state, where=where)
        elif encoder is not None:
            load_encoder(encoder, state, where=where, channels=self.in_channels)
        else:
            raise ConfigError(f"{config.architecture}: has no encoder of its own to load. Set `weights_of: network`.")
        assert config.mean is not None and config.deviation is not None
        origin = f"{config.weights_of} weights from {config.weights.name}"
        begin_standardized(self, origin, config.mean, config.deviation)


DEFAULT_ENCODER = "efficientnet-b2"


def architectures() -> dict[str, type[nn.Module]]:
    """MONAI's networks that map channels to channels: name -> class, aliases left out."""
    found = {}
    for name, value in vars(nets).items():
        if inspect.isclass(value) and issubclass(value, nn.Module) and value.__name__ == name:
            parameters = inspect.signature(value).parameters
            if {"in_channels", "out_channels"} <= parameters.keys():
                found[name] = value
    return found


def _build(config: MonaiNetConfig, task: Task, channels: int) -> nn.Module:
    """The MONAI module, or an error that says which argument is wrong."""
    known = architectures()
    if config.architecture not in known:
        raise UnknownName("MONAI architecture", config.architecture, known, where="network monai_net")
    builder = known[config.architecture]
    accepted = set(inspect.signature(builder).parameters)
    for name in config.arguments:
        if name in OURS:
            raise ConfigError(f"network monai_net: argument {name!r} is set by unshift; remove it from `arguments`.")
        if name not in accepted:
            raise UnknownName(f"argument of {config.architecture}", name, accepted - {*OURS}, where="network monai_net")
    filled = {"in_channels": channels, "out_channels": task.num_classes, "spatial_dims": task.spatial_dims}
    arguments = {n: v for n, v in filled.items() if n in accepted} | {
        n: _tuples(v) for n, v in config.arguments.items()
    }
    if config.architecture == "FlexibleUNet":
        arguments |= {"backbone": _encoder(config), "pretrained": False}
    elif config.encoder is not None:
        raise ConfigError(f"{config.architecture}: takes no encoder; found {config.encoder!r}. Remove it.")
    try:
        body = builder(**arguments)
    except ImportError as error:
        reason = str(error).split(".\n")[0]
        raise MissingDependency(
            f"{config.architecture}: MONAI needs a package that is not installed ({reason}). Install it with pip."
        ) from None
    except _REFUSALS as error:
        raise ConfigError(
            f"{config.architecture}: MONAI refuses {arguments}: {error}. See its documentation."
        ) from None
    _remove_head(body)
    return body


def _encoder(config: MonaiNetConfig) -> str:
    name = config.encoder or DEFAULT_ENCODER
    if name not in FLEXUNET_BACKBONE.register_dict:
        raise UnknownName("encoder of FlexibleUNet", name, FLEXUNET_BACKBONE.register_dict, where="network monai_net")
    return name


def _remove_head(body: nn.Module) -> None:
    encoder = getattr(body, "encoder", None)
    if isinstance(encoder, nets.EfficientNetBNFeatures):
        del encoder._conv_head, encoder._bn1, encoder._fc


def _tuples(value: Any) -> Any:
    """YAML's lists as the tuples that MONAI expects."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _divisor_problem(config: MonaiNetConfig, is_cut: bool) -> str:
    if is_cut:
        return f"{config.architecture}: size_divisor is known; remove `size_divisor: {config.size_divisor}`."
    return (
        f"{config.architecture}: what its input's sides must be multiples of is not known here. Set `size_divisor` "
        "(usually the product of its strides, or its patch size; 32 for SwinUNETR, 16 for UNETR)."
    )


def _not_cut(architecture: str) -> str:
    return (
        f"{architecture}: encoder and decoder cannot be separated, so there are no features to look at or restyle. "
        f"Use one of {', '.join(SPLITS)}, or the networks unet, ram_unet or smp."
    )


MEMBER = MonaiNet
