"""Any model of timm with its classifier removed (needs the extra [timm]); Swin-V2-Large at 384 is the paper's.

"Color-Quality Invariance for Robust Medical Image Segmentation" (DCIN), section LRIS: the pooled output for pictures
resized to the model's own size and standardized as it expects, which timm's record of the model says.

Difference from the authors' code: there the bank is built at 224 pixels by default and queried at 384; here both sides
are one setting. Pixels outside the field of view are seen too, as in the paper: pooling is the model's own.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Network
from unshift.embedding import Embedding
from unshift.embeddings.pooling import colored, looking, resized, unit, weights_digest
from unshift.errors import ConfigError, DataError, MissingDependency
from unshift.weights import load_exactly, read_weights

_HEADS = ("head.", "fc.", "classifier.")


class TimmConfig(Config):
    """``weights``: a file in timm's own names, or null for timm's hub. ``size``: null is the model's own."""

    model: str = "swinv2_large_window12to24_192to384"
    weights: Path | None = None
    size: int | None = Field(default=None, ge=8)


class Timm(Embedding):
    """Pooled features before the classifier."""

    Config = TimmConfig

    def __init__(self, config: TimmConfig, network: Network | None = None, size: Sequence[int] = ()) -> None:
        super().__init__(config, network, size)
        self.body = _build(config, pretrained=False)
        record = self.body.pretrained_cfg
        self._side = config.size or int(record["input_size"][-1])
        self._standard = (tuple(record["mean"]), tuple(record["std"]))

    def begin(self) -> None:
        """Read the weights from the file that the settings name, or from timm's hub.

        Raises:
            BundleError: the file does not fit the model.
            DataError: the hub cannot be reached.
        """
        if self.config.weights is None:
            self.body = _build(self.config, pretrained=True)
        else:
            load_exactly(self.body, read_weights(self.config.weights), where=str(self.config.weights), unused=_HEADS)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Model, weights, size and standardization."""
        return {
            "model": f"timm {self.config.model}",
            "weights": weights_digest(self.state_dict()),
            "size": str(self._side),
            "standardization": str(self._standard),
        }

    def forward(
        self, images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
    ) -> Float[Tensor, "batch feature"]:
        """Unit vectors of RGB or grey pictures in [0, 1]."""
        pictures, _ = resized(colored(images, "timm"), None, (self._side, self._side))
        with looking(self):
            first = next(self.body.parameters())
            mean, deviation = (torch.tensor(values).view(3, 1, 1).to(first) for values in self._standard)
            return unit(self.body((pictures.to(first) - mean) / deviation)).to(images.device)


def _build(config: TimmConfig, *, pretrained: bool) -> Any:
    timm = _timm()
    if not timm.is_model(config.model.split(".")[0]):
        near = difflib.get_close_matches(config.model, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"embedding timm: no model {config.model!r}.{hint} timm.list_models() lists all.")
    sized = {"img_size": config.size} if config.size and "img_size" in _arguments(timm, config.model) else {}
    try:
        return timm.create_model(config.model, pretrained=pretrained, num_classes=0, **sized)
    except (OSError, RuntimeError) as error:  # what huggingface_hub raises offline; a model without published weights
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"embedding timm: weights of {config.model} cannot be fetched ({reason}). Connect to the network, or get "
            "the file elsewhere and set `weights: PATH`; or set `embedding: lite2` or `segmenter`, which are offline."
        ) from None


def _arguments(timm: Any, model: str) -> set[str]:
    """Names that say whether the model is built for one size of pictures: vision transformers are."""
    record = timm.models.get_pretrained_cfg(model.split(".")[0])
    return {"img_size"} if record is not None and record.fixed_input_size else set()


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise MissingDependency(
            f"embedding timm: {error.name or 'a package'} cannot be imported ({error}). It needs the extra [timm]: run "
            "`pip install 'unshift[timm]'`, or set `embedding: lite2` or `segmenter`."
        ) from None
    except (RuntimeError, AttributeError) as error:
        raise MissingDependency(
            f"embedding timm: the installed torchvision does not work with torch {torch.__version__} "
            f"({' '.join(str(error).split())}). Install the torchvision built for it; see https://pytorch.org."
        ) from None


MEMBER = Timm
