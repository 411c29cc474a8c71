"""Learn the weights that style transfer needs: WCT-AIN's decoder, and VGG features where no others can be had.

``wct_ain``: the encoder is a given VGG and stays as it is; the decoder learns to reconstruct content images. The loss
is the squared error of pixels plus that of the encoder's features at relu1_1 … relu4_1, each relative to the mean
square of the feature and weighted by 0.1. (As far as we know, WCT2 adds to the pixels' error a term on features whose
form and weight we could not confirm; ours is our own choice.)

``vgg16``, ``vgg19``: no labels are there, so features learn two things. From noisy images with a patch missing, a
linear read-out of each block's last feature restores the clean ones: what a content loss compares. And the channel
means and deviations of the left part of an image must be nearer to those of its own right part than to other images'
(a cross-entropy over the batch, times 0.3): what a style loss compares. Features learned so are no substitute for
ImageNet's in comparisons with published figures; the file and every run that uses it say what they were learned on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from unshift.errors import ConfigError
from unshift.experiment.content import content_images
from unshift.experiment.events import Listener, silence
from unshift.experiment.pretraining import PretrainConfig, draw, finish, pretrain
from unshift.normalizations.vgg import Vgg, VggName, VggWeights, cache_folder, find_vgg, load_vgg
from unshift.normalizations.wavelet import DIVISOR, Visit, WaveletAutoencoder, save_autoencoder
from unshift.randomness import derive
from unshift.train.devices import Devices
from unshift.weights import read_weights

Weights = Literal["vgg16", "vgg19", "wct_ain"]
FEATURE_WEIGHT = 0.1
NOISE = 0.1
TEMPERATURE = 0.1
_STYLE_WEIGHT = 0.3
_MARGIN = 1.25
_HELD_OUT = 0.1
_MEASURED = 8
_DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_FACTORS = (1, 2, 4, 8, 8)
_ENCODER_BLOCKS = 4
FULL_WIDTH = 64


@dataclass(frozen=True)
class Source:
    """Content images: a folder of photographs, or None for made-up textures, and how many."""

    folder: Path | None = None
    count: int = 500

    def __str__(self) -> str:
        return f"{self.count} " + ("made-up textures" if self.folder is None else f"photographs of {self.folder.name}")


@dataclass(frozen=True)
class Prepared:
    """A file of weights, where they come from, and measured figures."""

    path: Path
    origin: str
    figures: Mapping[str, float]


def prepare(
    name: Weights,
    source: Source,
    config: PretrainConfig,
    *,
    encoder: VggWeights = None,
    width: int = FULL_WIDTH,
    output: Path | None = None,
    devices: Devices | None = None,
    listener: Listener = silence,
) -> Prepared:
    """Learn the weights that ``name`` stands for and write them, with where they come from in the header.

    Args:
        name: ``wct_ain``, ``vgg16`` or ``vgg19``.
        source: content images; every tenth is held out to measure what was learned.
        config: steps, batch, size, rate, seed.
        encoder: of ``wct_ain``: a file of VGG-16 or VGG-19, ``torchvision`` for its VGG-19, None for what is at hand.
        width: of a VGG: channels of the first block; 64 is the published network.
        output: default ``<name>.safetensors`` in the cache folder.
        devices: where to compute; default CPU or GPU, whichever is there.
        listener: told of each step.

    Raises:
        ConfigError: too few images; stored progress of other settings.
        DataError, BundleError: content or weights that cannot be read.
    """
    path = output or cache_folder() / f"{name}.safetensors"
    train, held_out = _split(source, config)
    where = devices or Devices()
    if name == "wct_ain":
        vgg, origin = find_encoder(encoder)
        decoder = Reconstruction(vgg, seed=config.seed)
        decoder.calibrate(draw(train, config, 0))
        pretrain(decoder, train, config, output=path, devices=where, listener=listener)
        figures = {"psnr": mean_psnr(decoder.network, held_out)}
        origin = f"encoder: {origin}; decoder: {_learned(source, config)}"
        save_autoencoder(path, decoder.network, origin=origin)
    else:
        learner = Features(name, width, seed=config.seed)
        pretrain(learner, train, config, output=path, devices=where, listener=listener)
        figures = learner.measure([draw(held_out, config, config.steps + i) for i in range(_MEASURED)])
        origin = f"{name} of width {width}, without labels, {_learned(source, config)}"
        _save(path, learner.state(), origin)
    finish(path, config, figures)
    return Prepared(path, origin, figures)


def _learned(source: Source, config: PretrainConfig) -> str:
    return f"learned in {config.steps} steps of {config.batch} crops of {config.size} pixels on {source}"


def _split(source: Source, config: PretrainConfig) -> tuple[list[Tensor], list[Tensor]]:
    """Images a little larger than a crop; the last tenth, at least one batch of them, is held out."""
    side = round(_MARGIN * config.size)
    images = content_images(source.folder, source.count, channels=3, size=(side, side), seed=config.seed)
    held_out = max(math.ceil(_HELD_OUT * len(images)), config.batch)
    if len(images) < held_out + config.batch:
        raise ConfigError(
            f"Content: {len(images)} images; at least {2 * config.batch} are required for batches of {config.batch}. "
            "Raise --count or lower --batch."
        )
    return images[:-held_out], images[-held_out:]


def _save(path: Path, state: Mapping[str, Tensor], origin: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    draft.write_bytes(save(dict(state), metadata={"origin": origin}))
    draft.replace(path)


# ----------------------------------------------------------------------------------------------------- decoder


class Reconstruction(nn.Module):
    """The loss of WCT-AIN's decoder behind the frozen convolutions of ``vgg``."""

    def __init__(self, vgg: Vgg, *, seed: int) -> None:
        super().__init__()
        third = _DEPTHS[vgg.name][2]
        counts = (2, 2, third, 1)
        taken = [module for module in vgg.modules() if isinstance(module, nn.Conv2d)][: sum(counts)]
        widths = [taken[sum(counts[:block])].out_channels for block in range(len(counts))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "decoder"))
            mean, deviation = vgg.mean.flatten().tolist(), vgg.deviation.flatten().tolist()
            self.network = WaveletAutoencoder(widths, third=third, mean=mean, deviation=deviation)
            _initialize(self.network.decoder)
        for own, given in zip(self.network.encoder.values(), taken, strict=True):
            own.load_state_dict(given.state_dict())
        self.network.encoder.requires_grad_(False)

    @torch.no_grad()
    def calibrate(self, images: Float[Tensor, "batch 3 h w"]) -> None:
        """Scale the decoder's first weights by what these images show: outputs of deviation 1, the last one's 0.1.

        The encoder's features, and those of Haar pooling all the more, are far from unit size; without this, most of a
        short training goes into finding the scale.
        """

        def scale(layer: nn.Module, _: object, found: Tensor) -> Tensor:
            last = layer is self.network.decoder["conv1_1"]
            factor = (0.1 if last else 1.0) / float(found.std())
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            layer.weight.mul_(factor)
            layer.bias.fill_(0.5 if last else 0.0)
            return found * factor

        hooks = [layer.register_forward_hook(scale) for layer in self.network.decoder.values()]
        self.network(images)
        for hook in hooks:
            hook.remove()

    def forward(self, images: Float[Tensor, "batch 3 h w"], generator: torch.Generator) -> dict[str, Tensor]:
        """``pixel`` and ``feature``, the relative error of features times 0.1."""
        wanted: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        result = self.network(images.to(self.network.mean), _keep(wanted))
        self.network.encode(result, _keep(found))
        relative = [
            F.mse_loss(found[name].float(), value.float()) / value.float().square().mean().clamp_min(1e-12)
            for name, value in wanted.items()
        ]
        pixel = F.mse_loss(result.float(), images)
        return {"pixel": pixel, "feature": FEATURE_WEIGHT * torch.stack(relative).mean()}


def _keep(features: dict[str, Tensor]) -> Visit:
    def visit(name: str, feature: Tensor) -> Tensor:
        if name.startswith("encoder"):
            features[name] = feature
        return feature

    return visit


def find_encoder(weights: VggWeights) -> tuple[Vgg, str]:
    """A VGG to relu4 and where it comes from: of a file, whichever of the two it is; else VGG-19 before VGG-16."""
    if isinstance(weights, Path) and "features.34.weight" not in read_weights(weights):
        return load_vgg("vgg16", weights, blocks=_ENCODER_BLOCKS)
    if weights is None and find_vgg("vgg19") is None:
        return load_vgg("vgg16", weights, blocks=_ENCODER_BLOCKS)
    return load_vgg("vgg19", weights, blocks=_ENCODER_BLOCKS)


@torch.no_grad()
def mean_psnr(network: WaveletAutoencoder, images: Sequence[Float[Tensor, "3 h w"]]) -> float:
    """Peak signal-to-noise ratio of reconstructed images in dB, clipped to [0, 1], averaged over images."""
    device = network.mean.device
    ratios = []
    for image in images:
        height, width = (n // DIVISOR * DIVISOR for n in image.shape[1:])
        cut = image[None, :, :height, :width].to(device)
        error = F.mse_loss(network(cut).clamp(0, 1), cut)
        ratios.append(-10 * math.log10(max(float(error), 1e-12)))
    return sum(ratios) / len(ratios)


# ---------------------------------------------------------------------------------------------------- features


class Features(nn.Module):
    """A VGG from random numbers, with a linear read-out behind each block, and the loss it learns from."""

    def __init__(self, name: VggName, width: int, *, seed: int) -> None:
        super().__init__()
        widths = [width * factor for factor in _FACTORS]
        self.taps = [f"relu{block}_{count}" for block, count in enumerate(_DEPTHS[name], start=1)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, name))
            self.vgg = Vgg(name, widths)
            self.read_outs = nn.ModuleList(nn.Conv2d(w, 3 * 4**i, 1) for i, w in enumerate(widths))
            _initialize(self.vgg)
        self.vgg.requires_grad_(True)

    def forward(self, images: Float[Tensor, "batch 3 h w"], generator: torch.Generator) -> dict[str, Tensor]:
        """``restore``: mean squared error over read-outs; ``style``: cross-entropy of finding the own other half."""
        features = list(self.vgg(_corrupt(images, generator).to(self.vgg.mean), self.taps).values())
        restored = [
            F.mse_loss(F.pixel_shuffle(read(feature), 2**i).float(), images)
            for i, (read, feature) in enumerate(zip(self.read_outs, features, strict=True))
        ]
        found = [style_loss(feature.float()) for feature in features]
        return {"restore": torch.stack(restored).mean(), "style": _STYLE_WEIGHT * torch.stack(found).mean()}

    @torch.no_grad()
    def measure(self, batches: Sequence[Float[Tensor, "batch 3 h w"]]) -> dict[str, float]:
        """The terms of the loss without weights, averaged over batches of other images."""
        generator = torch.Generator().manual_seed(0)
        found = [self(batch.to(self.vgg.mean.device), generator) for batch in batches]
        restore, style = (sum(float(terms[name]) for terms in found) / len(found) for name in ("restore", "style"))
        return {"restore": restore, "style": style / _STYLE_WEIGHT}

    def state(self) -> dict[str, Tensor]:
        """The VGG's tensors as torchvision names them."""
        return {name: value.detach().cpu().contiguous() for name, value in self.vgg.state_dict().items()}


def style_loss(feature: Float[Tensor, "batch channel h w"]) -> Float[Tensor, ""]:
    """Cross-entropy of finding, for the left three eighths of each feature, the right three eighths of the same one.

    Compared are the channel means and deviations, less their average over the batch, by the cosine over 0.1.
    """
    part = max(1, 3 * feature.shape[-1] // 8)
    left, right = (_centered(half) for half in (feature[..., :part], feature[..., -part:]))
    target = torch.arange(len(feature), device=feature.device)
    return F.cross_entropy(left @ right.T / TEMPERATURE, target)


def _centered(half: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch statistic"]:
    variance, mean = torch.var_mean(half, dim=(2, 3), correction=0)
    statistics = torch.cat([mean, (variance + 1e-8).sqrt()], dim=1)
    return F.normalize(statistics - statistics.mean(0), dim=1)


def _corrupt(images: Float[Tensor, "batch 3 h w"], generator: torch.Generator) -> Float[Tensor, "batch 3 h w"]:
    """Noise, and in each image one square of a quarter of the side gone, filled with the image's mean."""
    noisy = images + NOISE * torch.randn(images.shape, generator=generator).to(images)
    side = images.shape[-1] // 4
    for image in noisy:
        top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in image.shape[1:])
        image[:, top : top + side, left : left + side] = image.mean((1, 2), keepdim=True)
    return noisy


def _initialize(module: nn.Module) -> None:
    """He initialization, which keeps the size of features through many layers of ReLU."""
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
