"""VGG-16 and VGG-19 up to a layer by name, and where their weights come from: measuring style needs features.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015: the
convolutions only, with the names and shapes of torchvision's files. Widths are read off the file, so that a narrower
network is as good a file; the published widths are 64, 128, 256, 512, 512.

Weights are ``torchvision`` (downloaded once, its hash verified), a file, or None: what is at hand, in the order
torchvision's cache, timm's cache, the file of ``unshift prepare``. None never downloads. What was found is said.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # the class alone: torch raises it for a file that its safe loader refuses
from typing import Literal
from urllib.error import URLError

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from unshift.errors import BundleError, DataError, ShapeMismatch, UnknownName
from unshift.weights import IMAGENET_DEVIATION, IMAGENET_MEAN, load_exactly, read_weights

VggName = Literal["vgg16", "vgg19"]
VggWeights = Literal["torchvision"] | Path | None

WIDTHS = (64, 128, 256, 512, 512)
_COUNTS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_TITLES = {"vgg16": "VGG-16", "vgg19": "VGG-19"}
_URLS = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
_HEADS = ("classifier.", "pre_logits.", "head.")


class Vgg(nn.Module):
    """RGB images in [0, 1] -> features by name, ``relu1_1`` … ``relu5_4``.

    Args:
        name: ``vgg16`` or ``vgg19``.
        widths: channels of the blocks; fewer than five end the network early.
        standardize: take ImageNet's mean and deviation out of the images first, as the weights' training did.

    The names in ``state_dict()`` are torchvision's: ``features.0.weight`` ….
    """

    def __init__(self, name: VggName, widths: Sequence[int] = WIDTHS, *, standardize: bool = True) -> None:
        super().__init__()
        self.name = name
        mean, deviation = (IMAGENET_MEAN, IMAGENET_DEVIATION) if standardize else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.deviation: Tensor
        layers: list[nn.Module] = []
        self._ends: dict[str, int] = {}
        before = 3
        for block, (width, count) in enumerate(zip(widths, _COUNTS[name], strict=False), start=1):
            for index in range(1, count + 1):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                self._ends[f"relu{block}_{index}"] = len(layers)
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "batch 3 height width"], names: Collection[str]) -> dict[str, Tensor]:
        """The features of ``names``, shallow to deep; nothing beyond the deepest one is computed.

        Raises:
            UnknownName: no such layer.
            ShapeMismatch: not three channels, or too small an image for the poolings on the way.
        """
        for name in names:
            if name not in self._ends:
                raise UnknownName(f"layer of {_TITLES[self.name]}", name, self._ends)
        wanted = {self._ends[name]: name for name in names}
        deepest = max(wanted, default=0)
        self._check(images, deepest)
        x, found = (images - self.mean) / self.deviation, {}
        for position, layer in enumerate(list(self.features)[:deepest], start=1):
            x = layer(x)
            if position in wanted:
                found[wanted[position]] = x
        return found

    def _check(self, images: Tensor, deepest: int) -> None:
        least = 2 ** sum(isinstance(layer, nn.MaxPool2d) for layer in list(self.features)[:deepest])
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < least:
            raise ShapeMismatch(
                f"{_TITLES[self.name]}: images are {'×'.join(map(str, images.shape))}; batch × 3 × at least "
                f"{least} × {least} is required. Repeat a grey channel three times, enlarge a small image."
            )


def vgg_from_state(
    name: VggName, state: Mapping[str, Tensor], *, where: str, blocks: int = 5, standardize: bool = True
) -> Vgg:
    """The frozen network of ``state``'s first ``blocks`` blocks; its widths are those of ``state``.

    Raises:
        BundleError: a tensor is missing, unknown or of another shape; a classification head may be there.
    """
    counts = _COUNTS[name]
    firsts = [2 * sum(counts[:block]) + block for block in range(blocks)]
    weights = [state.get(f"features.{first}.weight") for first in firsts]
    if any(weight is None or weight.ndim != 4 for weight in weights):
        raise BundleError(
            f"{where}: is no {_TITLES[name]}; found {', '.join(sorted(state)[:4]) or 'nothing'}, required are "
            f"features.N.weight for N in {firsts}. Give a file of torchvision, timm or `unshift prepare {name}`."
        )
    network = Vgg(name, [len(weight) for weight in weights if weight is not None], standardize=standardize)
    deeper = [f"features.{position}." for position in range(len(network.features), 2 * sum(counts) + len(counts))]
    load_exactly(network, state, where=where, unused=(*_HEADS, *deeper))
    return network.eval().requires_grad_(False)


def load_vgg(
    name: VggName, weights: VggWeights = None, *, blocks: int = 5, standardize: bool = True
) -> tuple[Vgg, str]:
    """The frozen network, and in words where its weights come from.

    Args:
        weights: ``torchvision``, a file in the naming of torchvision or timm, or None for what is at hand.
        blocks: how many of the five; the rest of the file is left aside.

    Raises:
        DataError: None and nothing is at hand (says the ways on), or ``torchvision`` cannot be reached.
        BundleError: the file is damaged or holds something else.
    """
    if weights == "torchvision":
        state, where = _download(name), _URLS[name]
        origin = _origin(name, _torchvision_file(name))
    else:
        path = find_vgg(name) if weights is None else Path(weights)
        if path is None:
            raise DataError(_ways(name))
        state, where, origin = read_weights(path), str(path), _origin(name, path)
    return vgg_from_state(name, state, where=where, blocks=blocks, standardize=standardize), origin


def find_vgg(name: VggName) -> Path | None:
    """The file of weights at hand: torchvision's cache, else timm's, else that of ``unshift prepare``; or None."""
    places = (_torchvision_file(name), *_timm_files(name), prepared_vgg(name))
    return next((path for path in places if path.is_file()), None)


def vgg_files(name: VggName, weights: VggWeights) -> tuple[Path, ...]:
    """The file that :func:`load_vgg` would read, for a run's identity.

    None for ``torchvision``, whose content the setting itself decides: its hash is part of the address.
    """
    path = find_vgg(name) if weights is None else weights
    return (path,) if isinstance(path, Path) and path.is_file() else ()


def prepared_vgg(name: VggName) -> Path:
    """Where ``unshift prepare`` writes the weights that it learned."""
    return cache_folder() / f"{name}.safetensors"


def cache_folder() -> Path:
    """Where unshift keeps weights that it learned: ``$UNSHIFT_CACHE``, or ``~/.cache/unshift``."""
    return Path(os.environ.get("UNSHIFT_CACHE") or Path.home() / ".cache" / "unshift")


# ------------------------------------------------------------------------------------------------------- places


def _torchvision_file(name: VggName) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_URLS[name]).name


def _timm_files(name: VggName) -> list[Path]:
    """What Hugging Face's cache holds of timm's port of the same weights; of several versions the current one first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    model = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--timm--{name}.tv_in1k"
    current = model / "refs" / "main"
    versions = [current.read_text(encoding="utf-8").strip()] if current.is_file() else []
    versions += sorted(path.name for path in model.glob("snapshots/*"))
    files = ("model.safetensors", "pytorch_model.bin")
    return [model / "snapshots" / version / file for version in versions for file in files]


def _origin(name: VggName, path: Path) -> str:
    if path == _torchvision_file(name):
        return f"{_TITLES[name]} on ImageNet, torchvision's {path.name}"
    if path in _timm_files(name):
        return f"{_TITLES[name]} on ImageNet, timm's {name}.tv_in1k"
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as opened:
            said = (opened.metadata() or {}).get("origin")
        if said:
            return f"{said} ({path.name})"
    return f"{_TITLES[name]} of the file {path.name}, which does not say where it comes from"


def _download(name: VggName) -> dict[str, Tensor]:
    """The file of torchvision, from the network the first time and from its cache afterwards."""
    try:
        return torch.hub.load_state_dict_from_url(
            _URLS[name], map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{_TITLES[name]}: could not be fetched from {_URLS[name]} ({reason}). Connect to the network, or set "
            f"`weights: PATH` to a file of it, or run `unshift prepare {name} --content FOLDER` to learn weights here."
        ) from None


def _ways(name: VggName) -> str:
    return (
        f"{_TITLES[name]}: no weights at hand; looked at {_torchvision_file(name)}, timm's {name}.tv_in1k in Hugging "
        f"Face's cache and {prepared_vgg(name)}. One of three is required: set `weights: torchvision` to download "
        f"ImageNet's; set `weights: PATH` to a file in the naming of torchvision or timm; or learn weights from images "
        f"without labels: unshift prepare {name} --content FOLDER"
    )
