"""Each split against the MONAI network's own forward, which is the independent implementation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks import nets
from torch import nn

from unshift.networks.monai_split import SPLITS

CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("FlexibleUNet", 2, {"backbone": "efficientnet-b0"}),
    ("FlexibleUNet", 2, {"backbone": "resnet10", "decoder_channels": (32, 16, 8, 8, 8)}),
    ("BasicUNet", 2, {"features": (4, 4, 8, 8, 16, 4)}),
    ("BasicUNet", 3, {"features": (2, 2, 4, 4, 8, 2), "upsample": "nontrainable"}),
    ("UNet", 2, {"channels": (4, 8, 16), "strides": (2, 2), "num_res_units": 2}),
    ("UNet", 2, {"channels": (4, 8), "strides": (4,)}),
    ("UNet", 3, {"channels": (2, 4, 8, 8), "strides": (2, 2, 1), "num_res_units": 0}),
    ("SegResNet", 2, {"init_filters": 8}),
    ("SegResNet", 3, {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1), "upsample_mode": "deconv"}),
]


@pytest.mark.parametrize(("name", "dims", "arguments"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_decode_of_features_is_the_networks_own_forward(
    name: str, dims: int, arguments: dict[str, Any], training: bool
) -> None:
    torch.manual_seed(0)
    body: nn.Module = getattr(nets, name)(spatial_dims=dims, in_channels=2, out_channels=3, **arguments)
    split = SPLITS[name](body.train(training))
    x = torch.rand(2, 2, *[2 * split.divisor] * dims)
    with torch.no_grad():
        torch.manual_seed(1)  # dropout and drop-connect draw the same on both ways
        own = body(x)
        torch.manual_seed(1)
        assert torch.equal(split.decode(split.features(x)), own)


@pytest.mark.parametrize(("name", "dims", "arguments"), [case for case in CASES if case[1] == 2])
def test_the_divisor_is_the_deepest_stride(name: str, dims: int, arguments: dict[str, Any]) -> None:
    split = SPLITS[name](getattr(nets, name)(spatial_dims=2, in_channels=1, out_channels=2, **arguments).eval())
    side = 2 * split.divisor
    with torch.no_grad():
        assert side // split.features(torch.rand(1, 1, side, side))[-1].shape[-1] == split.divisor


def test_a_restyled_skip_does_not_change_the_encoders_path() -> None:
    """Adding to one feature between the halves leaves all other features as they were."""
    split = SPLITS["UNet"](nets.UNet(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)).eval())
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        features = split.features(x)
        split.decode([features[0] + 1, *features[1:]])
        assert all(torch.equal(a, b) for a, b in zip(features, split.features(x), strict=True))
