from __future__ import annotations

import pytest
import torch

from unshift.errors import BundleError
from unshift.networks.timm_weights import in_timm_names, lite_package

PUBLISHED = {
    "_conv_stem.weight": torch.zeros(4, 3, 3, 3),
    "_bn0.weight": torch.ones(4),
    "_bn0.bias": torch.zeros(4),
    "_conv_head.weight": torch.zeros(8, 4, 1, 1),
    "_fc.bias": torch.zeros(9),
}
OWN = {"conv_stem.weight": torch.rand(4, 3, 3, 3), "bn1.weight": torch.rand(4), "bn1.bias": torch.rand(4)}


def test_which_encoders_have_a_package() -> None:
    assert lite_package("tu-tf_efficientnet_lite2") == "efficientnet-lite2"
    for name in ("tu-tf_efficientnet_lite3", "tf_efficientnet_lite2", "tu-resnet18", "efficientnet-b2"):
        assert lite_package(name) is None


def test_names_by_order_without_the_head() -> None:
    renamed = in_timm_names(PUBLISHED, OWN, where="file")
    assert list(renamed) == list(OWN)
    assert renamed["bn1.weight"] is PUBLISHED["_bn0.weight"]


def test_the_stem_may_have_other_channels() -> None:
    assert in_timm_names(PUBLISHED, {**OWN, "conv_stem.weight": torch.rand(4, 1, 3, 3)}, where="file")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"conv_stem.weight": OWN["conv_stem.weight"]}, "file: 3 encoder tensors; timm's network has 1"),
        ({**OWN, "bn1.weight": torch.rand(5)}, "tensor _bn0.weight does not match bn1.weight"),
        ({"a.weight": OWN["conv_stem.weight"], "b.bias": torch.rand(4), "c.weight": torch.rand(4)}, "b.bias"),
    ],
)
def test_what_does_not_match_is_refused(own: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        in_timm_names(PUBLISHED, own, where="file")
