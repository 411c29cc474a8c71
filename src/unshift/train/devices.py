"""Where a training runs: decided once, at the edge; everything below follows its tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies import DDPStrategy

from unshift.errors import ConfigError
from unshift.randomness import make_deterministic
from unshift.train.shallow import ShallowInFloat32


@dataclass(frozen=True)
class Devices:
    """Accelerator, processes, nodes.

    Args:
        accelerator: ``auto`` takes a GPU when there is one.
        devices: processes per node, one device each; on the CPU, processes.
        num_nodes: machines; all must see the run folder.
        strategy: ``auto`` is one process, or DDP when there are several.
        deterministic: ask torch for deterministic kernels, so that a GPU repeats itself; some objectives then raise.
    """

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Literal["auto", "ddp"] = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1 or self.num_nodes < 1:
            raise ConfigError(
                f"Devices: {self.devices} devices on {self.num_nodes} nodes; at least 1 of each is required."
            )
        if self.kind == "cuda" and self.devices > torch.cuda.device_count():
            raise ConfigError(
                f"Devices: {self.devices} GPUs asked for; {torch.cuda.device_count()} found. "
                "Lower --devices, or set --accelerator cpu."
            )

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        """What ``auto`` stands for on this machine."""
        if self.accelerator == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.accelerator

    @property
    def device(self) -> torch.device:
        """This process's device, known before the processes are connected."""
        return (
            torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if self.kind == "cuda" else torch.device("cpu")
        )

    def fabric(self, precision: str) -> Fabric:
        """The engine: device, precision, and DDP where several processes share the work."""
        several = self.devices * self.num_nodes > 1
        ddp = several or self.strategy == "ddp"
        return Fabric(
            accelerator=self.kind,
            devices=self.devices,
            num_nodes=self.num_nodes,
            # A phase uses part of the parameters, and so do networks whose encoder keeps its classifier's layers.
            strategy=DDPStrategy(find_unused_parameters=True) if ddp else "auto",
            plugins=[_plugin(precision, self.kind)],
        )

    @contextmanager
    def determinism(self) -> Iterator[None]:
        """Deterministic kernels inside, when they are asked for; the process's own setting afterwards."""
        before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
        if self.deterministic:
            make_deterministic()
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.backends.cudnn.benchmark = benchmark


class _Autocast(MixedPrecision):
    """Autocast around the objective only: its images arrive in float32, so that augmentation keeps their precision."""

    def convert_input(self, data: Any) -> Any:
        return data

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        with super().forward_context(), ShallowInFloat32() if self.device == "cpu" else nullcontext():
            yield


def _plugin(precision: str, kind: str) -> Precision:
    if precision == "32":
        return Precision()
    if precision == "16-mixed" and kind == "cpu":
        raise ConfigError(
            "precision: 16-mixed on the CPU; float16 training needs a GPU. Set precision to auto, 32 or bf16-mixed."
        )
    return _Autocast(precision, kind)  # type: ignore[arg-type]
