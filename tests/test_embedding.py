"""The base of embeddings: nothing to fetch unless a member says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unshift.embedding import Embedding


class Mean(Embedding):
    """The mean color."""

    @property
    def fingerprint(self) -> dict[str, str]:
        return {"model": "mean"}

    def forward(self, images: Tensor, inside: Tensor | None = None) -> Tensor:
        return torch.nn.functional.normalize(images.flatten(2).mean(2), dim=1)


def test_a_member_needs_its_vectors_and_its_fingerprint_and_nothing_else() -> None:
    embedding = Mean(None)
    embedding.begin()
    assert embedding.state_dict() == {} and embedding(torch.ones(2, 3, 4, 4)).shape == (2, 3)
    with pytest.raises(TypeError, match="abstract"):
        Embedding(None)  # type: ignore[abstract]
