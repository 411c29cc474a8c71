"""Training steps per second in float32 and in bfloat16 with channels-last, and whether the losses agree.

``python benchmarks/precision.py [--quick]`` prints a Markdown table. Rounds of the two precisions alternate, and the
table holds medians, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from contextlib import nullcontext

import torch
from monai.networks import nets
from torch import Tensor, nn

from unshift.losses.overlap import segmentation_terms
from unshift.networks.unet import UNet
from unshift.randomness import torch_generator
from unshift.sample import Task

TASK = Task(channels=3, classes=("background", "object"))
VOLUMES = Task(channels=3, classes=("background", "object"), spatial_dims=3)


def candidates(quick: bool) -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Name -> network and input shape: U-Nets from narrow to that of 34.5 M parameters, in 2-D and 3-D."""
    found: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
    for width in (4, 8, 16, 32) if quick else (4, 8, 16, 32, 64):
        found[f"U-Net {width}…{16 * width}, 4×3×128²"] = (unet(width, 5, TASK), (4, 3, 128, 128))
    found["U-Net 4…32 in 3-D, 1×3×32³"] = (unet(4, 4, VOLUMES), (1, 3, 32, 32, 32))
    found["U-Net 16…128 in 3-D, 1×3×32³"] = (unet(16, 4, VOLUMES), (1, 3, 32, 32, 32))
    found["SegResNet 8 in 3-D, 1×1×32×64²"] = (
        nets.SegResNet(3, init_filters=8, in_channels=1, out_channels=2),
        (1, 1, 32, 64, 64),
    )
    return found


def unet(width: int, levels: int, task: Task) -> nn.Module:
    """Our U-Net, each level twice as wide as the one above it."""
    return UNet(UNet.Config(widths=tuple(width * 2**level for level in range(levels))), task)


class Trainer:
    """One network in one precision; both begin with the same weights and see the same images."""

    def __init__(self, network: nn.Module, *, mixed: bool) -> None:
        self.network, self.mixed = network.train(), mixed
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def step(self, images: Tensor, label_maps: Tensor) -> None:
        began = time.perf_counter()
        flat = images.ndim == 4
        if self.mixed and flat:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16) if self.mixed else nullcontext():
            loss = torch.stack(list(segmentation_terms(self.network(images), label_maps).values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - began)
        self.losses.append(float(loss.detach()))


def compare(network: nn.Module, shape: tuple[int, ...], steps: int) -> tuple[float, float, float, float]:
    """Median seconds in float32 and bfloat16; relative difference of the first and of the last loss."""
    pair = []
    for mixed in (False, True):
        with torch.random.fork_rng(devices=[]):
            twin = copy.deepcopy(network)
        if mixed and len(shape) == 4:
            twin = twin.to(memory_format=torch.channels_last)
        pair.append(Trainer(twin, mixed=mixed))
    for step in range(steps):
        images = torch.rand(shape, generator=torch_generator(0, step))
        label_maps = (images[:, 0] > 0.7).long()
        for trainer in pair:
            trainer.step(images, label_maps)
    full, mixed = pair
    differences = [abs(a - b) / a for a, b in zip(full.losses, mixed.losses, strict=True)]
    return statistics.median(full.seconds[1:]), statistics.median(mixed.seconds[1:]), differences[0], differences[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the largest network")
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"threads: {torch.get_num_threads()}; torch {torch.__version__}\n")
    print("| network | parameters | float32, s | bfloat16, s | ratio | first loss differs | last loss differs |")
    print("|---|---|---|---|---|---|---|")
    for name, (network, shape) in candidates(arguments.quick).items():
        full, mixed, first, last = compare(network, shape, arguments.steps)
        size = sum(p.numel() for p in network.parameters())
        print(
            f"| {name} | {size:,} | {full:.3f} | {mixed:.3f} | {full / mixed:.2f} | {first:.2%} | {last:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
