"""Devices are decided once, and refused when they are not there."""

from __future__ import annotations

import pytest
import torch

from unshift.errors import ConfigError
from unshift.sample import Batch
from unshift.train.devices import Devices


def test_default_is_one_device() -> None:
    devices = Devices()
    assert (devices.devices, devices.num_nodes) == (1, 1)
    assert devices.kind == ("cuda" if torch.cuda.is_available() else "cpu")
    assert Devices(accelerator="cpu").device == torch.device("cpu")


def test_mixed_precision_leaves_the_batch_in_float32() -> None:
    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 1)

        def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
            self.seen = (batch.images.dtype, self.layer(batch.images).dtype)
            return {"term": self.layer(batch.images).mean()}

    fabric = Devices(accelerator="cpu").fabric("bf16-mixed")
    module, _ = fabric.setup(spy := Spy(), torch.optim.SGD(spy.parameters(), lr=1.0))
    out = module(Batch(torch.rand(1, 1, 2, 2), ("d",), ("c",), label_maps=torch.zeros(1, 2, 2, dtype=torch.int64)))
    assert spy.seen == (torch.float32, torch.bfloat16)
    assert out["term"].dtype == torch.float32


def test_determinism_is_given_back() -> None:
    with Devices(accelerator="cpu", deterministic=True).determinism():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with Devices(accelerator="cpu").determinism():
        assert not torch.are_deterministic_algorithms_enabled()


def test_errors() -> None:
    with pytest.raises(ConfigError, match="0 devices on 1 nodes; at least 1 of each"):
        Devices(devices=0)
    count = torch.cuda.device_count() + 1
    with pytest.raises(ConfigError, match=f"{count} GPUs asked for; {count - 1} found"):
        Devices(accelerator="cuda", devices=count)
    with pytest.raises(ConfigError, match="16-mixed on the CPU; float16 training needs a GPU"):
        Devices(accelerator="cpu").fabric("16-mixed")
