"""What a member of the family ``embeddings`` promises: images -> vectors in which likeness is a cosine.

Normalizations that look for similar source images take one as they find it: they lie below the members, which look
through networks, and get them by name.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from unshift.contracts import Member, Network


class Embedding(Member, nn.Module, ABC):
    """Images -> unit vectors; images that look alike have vectors of high cosine.

    A member is built without weights of its own: :meth:`begin` fetches them, once, before images are described;
    afterwards ``state_dict()`` holds them, so that a bundle needs no second fetch.
    """

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, what members share (``pooling.py``): it decides every vector."""
        return (*super().files(config), Path(inspect.getfile(cls)).with_name("pooling.py"))

    def __init__(self, config: Any, network: Network | None = None, size: Sequence[int] = ()) -> None:
        """``network`` and ``size``: the trained network and its input, for members that look through it."""
        super().__init__()
        self.config = config

    def begin(self) -> None:
        """Fetch published weights. The default has none to fetch."""

    @property
    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """What decides a vector beside the image: model, SHA-256 of its weights, size, standardization."""

    @abstractmethod
    def forward(
        self, images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None = None
    ) -> Float[Tensor, "batch feature"]:
        """Unit vectors, float32, on the images' device; in evaluation mode whatever the mode is.

        Raises:
            ShapeMismatch: channels or axes that the model cannot take.
        """
