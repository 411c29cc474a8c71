"""Networks around others are built by name, and refuse what a bundle could not build."""

from __future__ import annotations

import pytest
import torch

from unshift.config import MemberRef
from unshift.errors import ConfigError
from unshift.networks.dual_norm import Config as DualConfig
from unshift.networks.dual_norm import DualNorm
from unshift.networks.unet import UNet, UNetConfig
from unshift.networks.wrapping import built, reference, take_standardization
from unshift.sample import Task

TASK = Task(1, ("background", "head"))


def test_what_is_built_can_be_named_and_built_again() -> None:
    network = built(MemberRef.model_validate({"name": "unet", "widths": [4, 8]}), TASK, 3, who="w")
    named = reference(network, who="w")
    assert isinstance(network, UNet) and network.in_channels == 3 and named is not None
    again = built(named, TASK, 3, who="w")
    assert again.state_dict().keys() == network.state_dict().keys()

    class Stranger(UNet):
        """Of no file of the family."""

    assert reference(Stranger(UNetConfig(widths=(4, 8)), TASK), who="w") is None


def test_what_a_bundle_could_not_build_is_refused() -> None:
    for ref in (None, MemberRef(name="own"), MemberRef(name="dual_norm"), MemberRef(name="local_mask")):
        with pytest.raises(ConfigError, match="w: .*another one of this package is required"):
            built(ref, TASK, None, who="w")
    with pytest.raises(ConfigError, match="w: the network is 'dual_norm'"):
        reference(DualNorm(DualConfig(of=MemberRef.model_validate({"name": "unet", "widths": [4, 8]})), TASK), who="w")


def test_standardization_moves_outward() -> None:
    inner, outer = (UNet(UNetConfig(widths=(4, 8)), TASK) for _ in range(2))
    inner.standardize(torch.tensor([0.5]), torch.tensor([2.0]))
    take_standardization(outer, inner)
    assert (float(outer.input_mean), float(outer.input_deviation)) == (0.5, 2.0)
    assert (float(inner.input_mean), float(inner.input_deviation)) == (0.0, 1.0)
