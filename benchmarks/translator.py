"""One training step of the translator beside a plain CycleGAN of the same width, and the memory of a volume.

    python benchmarks/translator.py [--output docs/results]

The peer is written in this file from the description of Zhu et al., "Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks" (ICCV 2017): two generators of nine residual blocks, two 70 x 70 patch
discriminators, least squares, cycle weight 10, identity weight 5, Adam (0.5, 0.999). Both take the same images, in
turns, step by step, in one process; the median step counts. Time of the processor is given beside the clock's, for
other processes may use the machine.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unshift.losses.translation import least_squares
from unshift.networks.discriminator import JudgesConfig
from unshift.networks.style_bank import fit_bank, translate_volume
from unshift.networks.translator import Translator, TranslatorConfig
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives.style_translation import Config, StyleTranslation
from unshift.sample import Batch, Task, UnlabeledBatch
from unshift.train.devices import Devices
from unshift.train.optimization import build_optimizers
from unshift.train.precision import candidate_precision
from unshift.train.settings import TrainConfig

WIDTH, SLICES = 32, 64
Step = Callable[[], None]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.body = nn.Sequential(*layers, nn.ReLU(inplace=True), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def generator(channels: int) -> nn.Sequential:
    """Zhu et al.'s c7s1, d, d, nine residual blocks, u, u, c7s1."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, WIDTH, 7)]
    layers += [nn.InstanceNorm2d(WIDTH), nn.ReLU(inplace=True)]
    for width in (WIDTH, 2 * WIDTH):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(inplace=True)]
    layers += [Block(4 * WIDTH) for _ in range(9)]
    for width in (4 * WIDTH, 2 * WIDTH):
        layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1)]
        layers += [nn.InstanceNorm2d(width // 2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, channels, 7), nn.Tanh())


def patches(channels: int) -> nn.Sequential:
    """Judgments of 70 x 70 patches."""
    layers: list[nn.Module] = [nn.Conv2d(channels, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for level, stride in ((1, 2), (2, 2), (4, 1)):
        layers += [nn.Conv2d(level * WIDTH, 2 * level * WIDTH, 4, stride, 1), nn.InstanceNorm2d(2 * level * WIDTH)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, 1, 1))


class CycleGAN(nn.Module):
    """Two generators and two discriminators, one training step at a time."""

    def __init__(self, channels: int, *, identity: float) -> None:
        super().__init__()
        self.to_b, self.to_a = generator(channels), generator(channels)
        self.judge_a, self.judge_b = patches(channels), patches(channels)
        self.identity = identity
        both = (itertools.chain(m.parameters(), n.parameters()) for m, n in self._pairs())
        self.optimizers = [torch.optim.Adam(list(p), 2e-4, (0.5, 0.999)) for p in both]

    def _pairs(self) -> tuple[tuple[nn.Module, nn.Module], ...]:
        return (self.to_a, self.to_b), (self.judge_a, self.judge_b)

    def step(self, a: Tensor, b: Tensor, around: Callable[[], Any]) -> None:
        judges = (self.judge_a, self.judge_b)
        for judge in judges:
            judge.requires_grad_(False)
        self.optimizers[0].zero_grad()
        with around():
            fake_b, fake_a = self.to_b(a), self.to_a(b)
            loss = 10 * (F.l1_loss(self.to_a(fake_b), a) + F.l1_loss(self.to_b(fake_a), b))
            loss = loss + least_squares([self.judge_a(fake_a)], 1.0) + least_squares([self.judge_b(fake_b)], 1.0)
            if self.identity:
                loss = loss + self.identity * (F.l1_loss(self.to_a(a), a) + F.l1_loss(self.to_b(b), b))
        loss.backward()
        self.optimizers[0].step()
        self.optimizers[1].zero_grad()
        for judge, real, fake in zip(judges, (a, b), (fake_a, fake_b), strict=True):
            judge.requires_grad_(True)
            with around():
                told = least_squares([judge(fake.detach())], 0.0) + least_squares([judge(real)], 1.0)
            (0.5 * told).backward()
        self.optimizers[1].step()


def fitting(images: Tensor) -> JudgesConfig:
    """The authors' three scales from 256 pixels up, two from 128."""
    return JudgesConfig(scales=3 if min(images.shape[2:]) >= 256 else 2)


def ours(batch: Batch, unlabeled: UnlabeledBatch, around: Callable[[], Any], *, phases: int) -> tuple[Step, int]:
    """A step of the objective's first ``phases`` turns as the loop takes them, and the translator's parameters."""
    task = Task(batch.images.shape[1], ("background", "organ"))
    network = UNet(UNetConfig(widths=(16, 32, 64, 128)), task)
    objective = StyleTranslation(Config(judges=fitting(batch.images)), task, network).train()
    objective.to(batch.images.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = build_optimizers(objective, TrainConfig(steps=10))

    def step() -> None:
        for phase in objective.phases[:phases]:
            objective.zero_grad(set_to_none=True)
            with around():
                terms = objective(batch, unlabeled, phase=phase)
            torch.stack(list(terms.values())).sum().backward()
            optimizers[phase].step()

    return step, sum(p.numel() for p in objective.translator.parameters())


def measure(ways: dict[str, Step], steps: int, device: torch.device) -> dict[str, list[tuple[float, ...]]]:
    """Clock and processor seconds and TFLOP of each step; the ways take turns, the first round counts operations."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    operations: dict[str, float] = {}
    for name, step in ways.items():
        with FlopCounterMode(display=False) as counter:
            step()
        operations[name] = counter.get_total_flops() / 1e12
    for _ in range(steps):
        for name, step in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = (time.perf_counter() - clock, time.process_time() - processor)
            found[name].append((*seconds, operations[name]))
    return found


def table_of_steps(options: argparse.Namespace) -> str:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    shape = (options.batch, options.channels, options.size, options.size)
    images, others = (torch.rand(shape, device=device) for _ in range(2))
    layout = {"memory_format": torch.channels_last}
    images, others = images.contiguous(**layout), others.contiguous(**layout)
    names = tuple(map(str, range(options.batch)))
    labels = torch.zeros(options.batch, options.size, options.size, dtype=torch.int64, device=device)
    batch, unlabeled = Batch(images, names, names, label_maps=labels), UnlabeledBatch(others, names, names)
    mixed = candidate_precision(Devices())[0] == "bf16-mixed"

    def around() -> Any:
        return torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()

    ways: dict[str, Step] = {}
    sizes: dict[str, int] = {}
    for name, identity in (("CycleGAN", 5.0), ("CycleGAN without identity terms", 0.0)):
        peer = CycleGAN(options.channels, identity=identity).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ways[name] = lambda peer=peer: peer.step(2 * images - 1, 2 * others - 1, around)  # type: ignore[misc]
        sizes[name] = sum(p.numel() for p in (*peer.to_a.parameters(), *peer.to_b.parameters()))
    for name, phases in (("unshift, translator", 2), ("unshift, with its segmenter", 3)):
        ways[name], sizes[name] = ours(batch, unlabeled, around, phases=phases)
    found = measure(ways, options.steps, device)
    usual = [median(column) for column in zip(*found["CycleGAN"], strict=True)]
    head = "| step | generators' parameters | clock [s] | of CycleGAN's | processor [s] | of CycleGAN's | TFLOP |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, rows in found.items():
        clock, processor, operations = (median(column) for column in zip(*rows, strict=True))
        times = f"{clock:.2f} | {clock / usual[0]:.2f} | {processor:.2f} | {processor / usual[1]:.2f}"
        lines.append(f"| {name} | {sizes[name]:,} | {times} | {operations:.3f} |")
    kind = torch.cuda.get_device_name() if device.type == "cuda" else f"{options.threads} CPU thread(s)"
    precision = "bfloat16 (autocast)" if mixed else "float32"
    head = f"{options.size}², {options.channels} channel(s), batch {options.batch} + {options.batch}, width {WIDTH}, "
    return "\n".join([head + f"median of {options.steps} steps, {kind}, {precision}.", "", *lines])


def volume_memory(slices: int, size: int) -> None:
    """Prints seconds and the peak memory of this process before and after translating a volume, in MiB."""
    torch.manual_seed(0)
    translator = Translator(TranslatorConfig(), 1).eval()
    volume = torch.rand(1, slices, size, size)
    code = fit_bank(translator, [torch.rand(4, 1, size, size)], clusters=1).codes[0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    translate_volume(translator, volume, code)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{time.perf_counter() - began:.1f} {before / 1024:.0f} {after / 1024:.0f}\n")


def table_of_volumes(options: argparse.Namespace) -> str:
    """Each volume in a process of its own: a peak never falls."""
    head = "| slices | seconds | process before [MiB] | at its peak [MiB] | the volume twice [MiB] |"
    lines = [head, "|---|---|---|---|---|"]
    for slices in (4, SLICES):
        command = [sys.executable, __file__, "--volume", str(slices), "--size", str(options.size)]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, before, after = done.stdout.split()
        lines.append(f"| {slices} | {seconds} | {before} | {after} | {2 * slices * options.size**2 * 4 / 2**20:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--volume", type=int, default=None, help="only translate a volume of so many slices")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.volume is not None:
        volume_memory(options.volume, options.size)
        return
    parts: list[str] = []
    opening = "# The translator's speed\n\n`python benchmarks/translator.py`\n\n## One training step"
    for title, table in ((opening, table_of_steps), ("## Translating a volume", table_of_volumes)):
        parts.append(f"{title}\n\n{table(options)}\n")
        sys.stdout.write(parts[-1] + "\n")
        sys.stdout.flush()
    if options.output is not None:
        (options.output / "translator_speed.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
