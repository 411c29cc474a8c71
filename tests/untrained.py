"""Weights with random content, in files or in a network, for tests of what needs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.normalizations.vgg import Vgg, VggName
from unshift.normalizations.wavelet import Option, WaveletAutoencoder, save_autoencoder
from unshift.sample import Task


def write_untrained_wavelet(
    path: Path, widths: Sequence[int] = (4, 4, 8, 8), *, third: int = 3, option: Option = "cat5", seed: int = 0
) -> WaveletAutoencoder:
    """Write an encoder and decoder of WCT-AIN that learned nothing; give the network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WaveletAutoencoder(widths, third=third, option=option)
        for convolution in (*network.encoder.values(), *network.decoder.values()):
            torch.nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            torch.nn.init.constant_(convolution.bias, 0.1)
    save_autoencoder(path, network, origin="random numbers")
    return network


def write_untrained_vgg(
    path: Path,
    name: VggName = "vgg16",
    widths: Sequence[int] = (4, 4, 6, 8, 8),
    *,
    origin: str = "random numbers",
    seed: int = 0,
) -> Vgg:
    """Write the convolutions of a narrow VGG that learned nothing; give the network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Vgg(name, widths).eval().requires_grad_(False)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path, metadata={"origin": origin} if origin else None)
    else:
        torch.save(state, path)
    return network


def untrained_network(channels: int, *, side: int = 32, seed: int = 0) -> Network:
    """A U-Net of two levels, 16 channels deep, that learned nothing, for RGB or grey pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reference = MemberRef.model_validate({"name": "unet", "widths": [4, 16]})
        task = Task(channels, ("background", "organ"))
        return build_network(reference, task, InputConfig(size=(side, side))).eval()
