"""Speed of RAM-DSIR beside the straightforward way, on the same images with the same draws, in the same run.

python benchmarks/ram.py [--output docs/results] [--size 256] [--batch 16] [--steps 50] [--repeats 20] [--threads 2]

The peers are written here, as the method is usually written: mixing by NumPy's complex FFTs, one image and channel at a
time; a training step of two forward passes in float32 with restoration domain by domain, and the mixing in a DataLoader
with two worker processes. Ours is the objective as a recipe gets it (one pass, precision by the rule of `auto`), and
with two passes. Goals: 15 times the images per second; 0.75 of the step's time; with two passes losses that agree
within 1 % over 50 steps, and in float32 at the first step to round-off, which training then amplifies; data waits less
than 10 % of a step. One pass is another method: both views share batch statistics, so that its losses differ by more.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from unshift.augmentations import amplitude_mix
from unshift.config import MemberRef, parse
from unshift.datasets.phantom import Config as PhantomConfig
from unshift.datasets.phantom import Phantom
from unshift.geometry import InputConfig
from unshift.losses.overlap import segmentation_terms
from unshift.networks.building import build_network
from unshift.objectives.ram_dsir import Config, RamDsir
from unshift.sample import Batch
from unshift.train.devices import Devices
from unshift.train.loader import Ahead, Loader
from unshift.train.optimization import build_optimizers
from unshift.train.precision import candidate_precision
from unshift.train.settings import TrainConfig

GOALS = {"mixing": 15.0, "step": 0.75, "losses": 0.01, "waiting": 0.10}
EXACT = "unshift, two passes, float32"
SOURCES = ("camera1", "camera2", "camera3")
Array = np.ndarray


def mixed_by_numpy(image: Array, partner: Array, share: float) -> Array:
    """The formula of amplitude mixup for one image [channel, height, width] in [0, 1]."""
    height, width = image.shape[1:]
    half = int(0.1 * min(height, width))
    window = (slice(height // 2 - half, height // 2 + half + 1), slice(width // 2 - half, width // 2 + half + 1))
    result = np.empty_like(image)
    for channel in range(len(image)):
        own, other = np.fft.fft2(image[channel]), np.fft.fft2(partner[channel])
        amplitude, phase = np.fft.fftshift(np.abs(own)), np.angle(own)
        amplitude[window] = share * amplitude[window] + (1 - share) * np.fft.fftshift(np.abs(other))[window]
        result[channel] = np.fft.ifft2(np.fft.ifftshift(amplitude) * np.exp(1j * phase)).real
    return result.clip(0, 1)


def measure_mixing(size: int, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Images per second of one call on a batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, size, size, generator=generator)
    domains = tuple(SOURCES[row % 3] for row in range(batch))
    member = amplitude_mix.AmplitudeMix(amplitude_mix.Config())
    drawn = member.draw(generator, images, domains)
    arrays, partner, share = images.numpy(), drawn["partner"].tolist(), drawn["share"].tolist()

    def peer() -> Tensor:
        rows = zip(arrays, partner, share, strict=True)
        return torch.from_numpy(np.stack([mixed_by_numpy(x, arrays[p], r) for x, p, r in rows]))

    calls: dict[str, Callable[[], Tensor]] = {"unshift": lambda: member.apply(images, drawn), "NumPy, per image": peer}
    difference = float((calls["unshift"]() - peer()).abs().max())
    if difference > 1e-5:
        sys.exit(f"mixed images differ by {difference:.2g}")
    turns = {"unshift": repeats, "NumPy, per image": max(2, repeats // 8)}
    took = {name: fastest(call, turns[name]) for name, call in calls.items()}
    slowest = took["NumPy, per image"]
    return [
        {
            "amplitude mix": name,
            "clock [ms]": round(1e3 * clock, 1),
            "processor [ms]": round(1e3 * processor, 1),
            "images per second": round(batch / clock),
            "× NumPy, clock": round(slowest[0] / clock, 1),
            "× NumPy, processor": round(slowest[1] / processor, 1),
        }
        for name, (clock, processor) in took.items()
    ]


def fastest(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds by the clock and of processors, each of the fastest call, after one that warms caches."""
    times = []
    for turn in range(repeats + 1):
        clock, processor = time.perf_counter(), time.process_time()
        call()
        if turn:
            times.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(clock for clock, _ in times), min(processor for _, processor in times)


# ------------------------------------------------------------------------------------------------------ training


class World:
    """Three cameras' images, the loader of the package, and the batches of every step."""

    def __init__(self, size: int, batch: int) -> None:
        phantom = Phantom(PhantomConfig(world="fundus", size=size, cases=max(6, batch // 2), domains=SOURCES))
        self.task, self.size = phantom.task, size
        self.config = TrainConfig(steps=10_000, batch_size=batch, sampling="balanced", learning_rate=2e-3)
        cases = [case for domain in SOURCES for case in phantom.cases(domain)]
        self.input = InputConfig(size=(size, size))
        self.loader = Loader(
            phantom, cases, input=self.input, config=self.config, seed=0, prepare=lambda sample: sample
        )
        for case in cases:
            self.loader._piece(case)  # drawn once: what a training of many epochs finds in memory

    def objective(self, **settings: Any) -> RamDsir:
        torch.manual_seed(0)
        network = build_network(MemberRef(name="ram_unet"), self.task, self.input)
        config = parse(Config, {"geometric": [], **settings}, where="benchmark")
        return RamDsir(config, self.task, network, SOURCES).train()


class MixingInTheLoader(Dataset[tuple[Any, ...]]):
    """What DataLoader's workers do: one image, its partner, NumPy."""

    def __init__(self, world: World, steps: int) -> None:
        self.batches = [world.loader.batch(step) for step in range(steps)]
        mixer = amplitude_mix.AmplitudeMix(amplitude_mix.Config())
        self.draws = [mixer.draw(batch.generator(), batch.images, batch.domains) for batch in self.batches]

    def __len__(self) -> int:
        return sum(len(batch.images) for batch in self.batches)

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        step, row = divmod(place, len(self.batches[0].images))
        batch = self.batches[step]
        partner, share = int(self.draws[step]["partner"][row]), float(self.draws[step]["share"][row])
        image = batch.images[row].numpy()
        mixed = image if share == 1 else mixed_by_numpy(image, batch.images[partner].numpy(), share)
        return image, mixed, batch.label_maps[row], batch.domains[row]


def straightforward_losses(objective: RamDsir, images: Tensor, mixed: Tensor, labels: Tensor, domains: Any) -> Tensor:
    """Two passes, probabilities, restoration domain by domain."""
    network, total = objective.network, torch.zeros(())
    first = network(images)
    features = network.encode(mixed)
    second = network.decode(features)
    for logits in (first, second):
        total = total + sum(segmentation_terms(logits, labels).values())
    p, q = first.softmax(1), second.softmax(1)
    total = total + 0.5 * ((p - q) * (p.log() - q.log())).mean()
    for domain in SOURCES:
        rows = [row for row, name in enumerate(domains) if name == domain]
        restored = objective.restoration(features[-1][rows], [domain] * len(rows))  # type: ignore[misc]
        total = total + 0.1 * functional.mse_loss(restored, 2 * images[rows] - 1)
    return total


def run_straightforward(world: World, steps: int, workers: int = 2) -> tuple[list[float], list[float], list[float]]:
    """Losses, seconds and seconds of waiting of every step."""
    objective = world.objective()
    data = DataLoader(MixingInTheLoader(world, steps), world.config.batch_size, num_workers=workers)

    def loss(batch: Any) -> Tensor:
        return straightforward_losses(objective, *batch)

    return train(objective, iter(data), loss, world=world, around=nullcontext)


def run_ours(
    world: World, steps: int, *, precision: str = "auto", **settings: Any
) -> tuple[list[float], list[float], list[float]]:
    """As :func:`run_straightforward`, with the package's loader and objective."""
    objective = world.objective(**settings)
    chosen = candidate_precision(Devices(accelerator="cpu"))[0] if precision == "auto" else precision
    if precision == "auto":  # not when exact: torch's batch norm of a million channels-last pixels is 1e-3 off
        objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def around() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if chosen == "bf16-mixed" else nullcontext()

    def loss(batch: Batch) -> Tensor:
        return torch.stack(list(objective(batch, phase="train").values())).sum()

    with Ahead(lambda step, part: world.loader.batch(step, part=part), workers=1, steps=steps) as ahead:
        return train(objective, (ahead(step) for step in range(steps)), loss, world=world, around=around)


def train(
    objective: RamDsir,
    batches: Iterator[Any],
    loss: Callable[[Any], Tensor],
    *,
    world: World,
    around: Callable[[], AbstractContextManager[Any]],
) -> tuple[list[float], list[float], list[float]]:
    optimizer = build_optimizers(objective, world.config)["train"]
    for group in optimizer.param_groups:
        group["lr"] = world.config.learning_rate * group["scale"]
    losses, seconds, waits = [], [], []
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return losses, seconds, waits
        waits.append(time.perf_counter() - began)
        optimizer.zero_grad()
        with around():
            total = loss(batch)
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
        seconds.append(time.perf_counter() - began)


def processors() -> float:
    """Seconds of processor time of this process and of the workers that have ended."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def measure_steps(size: int, batch: int, steps: int) -> tuple[list[dict[str, Any]], float]:
    """The table of steps, and the greatest relative difference of losses in float32 with two passes, at first."""
    world = World(size, batch)
    began, usual_name = processors(), "straightforward, float32"
    peer = run_straightforward(world, steps)
    runs, worked = {usual_name: peer}, {usual_name: (processors() - began) / steps}
    ways: dict[str, dict[str, Any]] = {
        "unshift (one pass)": {},
        "unshift, two passes": {"passes": "two"},
        EXACT: {"precision": "32", "passes": "two"},
    }
    for name, settings in ways.items():
        began = processors()
        runs[name] = run_ours(world, steps, **settings)
        worked[name] = (processors() - began) / steps
    rows = []
    usual = float(np.median(peer[1][1:]))
    for name, (losses, seconds, waits) in runs.items():
        typical = float(np.median(seconds[1:]))
        differences = [abs(own - other) / other for own, other in zip(losses, peer[0], strict=True)]
        rows.append(
            {
                "step": name,
                "clock [s]": round(typical, 3),
                "of the straightforward": round(typical / usual, 2),
                "processor [s]": round(worked[name], 3),
                "of its processor time": round(worked[name] / worked[usual_name], 2),
                "waits for data": f"{sum(waits[1:]) / sum(seconds[1:]):.1%}",
                "loss differs, first step": f"{differences[0]:.2g}",
                "any step, at most": f"{max(differences):.2g}",
                f"mean of {steps} steps": f"{abs(sum(losses) - sum(peer[0])) / sum(peer[0]):.2g}",
            }
        )
    exact = runs[EXACT][0]
    return rows, abs(exact[0] - peer[0][0]) / peer[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    mixing = pd.DataFrame(measure_mixing(options.size, options.batch, options.repeats))
    rows, first = measure_steps(options.size, options.batch, options.steps)
    if first > 1e-5:
        sys.exit(f"the first step's losses in float32 with the same draws differ by {first:.2g}")
    text = page(mixing, pd.DataFrame(rows), options)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "ram_speed.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns)
    return head + "\n" + "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))


def page(mixing: pd.DataFrame, steps: pd.DataFrame, options: argparse.Namespace) -> str:
    size, batch, threads = options.size, options.batch, options.threads
    command = f"python benchmarks/ram.py --size {size} --batch {batch} --steps {options.steps} --threads {threads}"
    return f"""# Speed of RAM-DSIR

`{command}` · {platform.machine()}, {os.cpu_count()} cores · Python {platform.python_version()}, torch
{torch.__version__}, numpy {np.__version__}. Other work on the machine, as its load average when done:
{os.getloadavg()[1]:.1f}; above the number of cores the clock counts waiting.

## Amplitude mix: {batch} images of {size}² RGB

Fastest call, by the clock and in processor time of all threads: beside other work the second is the one to trust. The
peer: complex FFTs of NumPy, one image and channel at a time. Goal: {GOALS["mixing"]:g} times.

{markdown(mixing)}

## One training step: `ram_unet`, batch {batch} at {size}²

Median of {options.steps} steps without the first. Straightforward: two forward passes in float32, restoration domain by
domain, mixing by NumPy in a DataLoader with two workers. Draws and initial weights are the same. Goals:
{GOALS["step"]:g} of its time; with two passes a mean loss within {GOALS["losses"]:.0%} (one pass is another method:
both views share batch statistics); waiting for data below {GOALS["waiting"]:.0%}.

{markdown(steps)}
"""


if __name__ == "__main__":
    main()
