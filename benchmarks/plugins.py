"""What style units add to a forward pass of the 34.5 M U-Net at 1×1×400×400, beside the paper's figures.

``python benchmarks/plugins.py [--repeats 9] [--compile] [--threads 1]`` prints Markdown tables, for the CPU and for a
GPU where there is one. Every repeat times the plain network, then the units alone on the features that the network has
just made, then the network with its units. The ratio *units / network* is a repeat's own, and the table has the median
of repeats, so that a busy machine slows both alike; the difference of two whole passes is shown too, but it is smaller
than their noise. Goals: 0.5 % for ``single``, 2 % for ``multi``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.adain import AdaIN
from unshift.plugins.units import Restyled, UnitsConfig
from unshift.randomness import torch_generator
from unshift.sample import Sample, Task

GOALS = {"single": 0.005, "multi": 0.02}
PAPER = {"single": (0.20, 30.06, "0.002 M"), "multi": (1.99, 30.06, "0.004 M")}
"""Liu et al. 2021, table 3: ms of the units; ms of the network, which is the whole less the units; parameters."""
SIZE = (1, 1, 400, 400)


class Mode(NamedTuple):
    """A way to run the network that users have."""

    name: str
    low: bool
    channels_last: bool


MODES = (
    Mode("float32", low=False, channels_last=False),
    Mode("float32, channels last", low=False, channels_last=True),
    Mode("bfloat16, channels last", low=True, channels_last=True),
)


def images(seed: int, device: str) -> Tensor:
    """One random image of the paper's size."""
    return torch.rand(SIZE, generator=torch_generator(seed)).to(device)


def prepare(mode: Mode, device: str) -> dict[str, Restyled]:
    """One network with fitted units, by levels."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(), Task(1, ("background", "head"))).eval().to(device)
    if mode.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    style = [Sample(images(1, "cpu")[0], case="style", patient="style", domain="style")]
    return {
        levels: AdaIN(UnitsConfig(levels=levels)).fit(network, style, []).attach(network)  # type: ignore[arg-type]
        for levels in GOALS
    }


class Stopwatch:
    """Seconds of a call: on the CPU those that the processor worked, which other programs disturb least."""

    def __init__(self, device: str) -> None:
        self.calls = 20 if device == "cuda" else 1
        self.now = time.perf_counter if device == "cuda" else time.process_time
        self.wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else lambda: None

    def __call__(self, call: Callable[[Any], Any], given: Any) -> float:
        self.wait()
        began = self.now()
        for _ in range(self.calls):
            call(given)
        self.wait()
        return (self.now() - began) / self.calls


def measure(mode: Mode, device: str, *, repeats: int, compiled: bool) -> dict[str, list[tuple[float, float, float]]]:
    """By levels, one (network, units, network with units) in seconds for each repeat."""
    attached = prepare(mode, device)
    network = attached["single"].network
    change: Callable[[Any], Any] = torch.compile if compiled else lambda f: f
    run, whole = change(network), {levels: change(each) for levels, each in attached.items()}
    units = {levels: change(each.restyle) for levels, each in attached.items()}
    watch = Stopwatch(device)
    found: dict[str, list[tuple[float, float, float]]] = {levels: [] for levels in attached}
    low: AbstractContextManager[Any] = torch.autocast(device, torch.bfloat16) if mode.low else nullcontext()
    with torch.no_grad(), low:
        for repeat, levels in product(range(repeats + 2), attached):  # the first two warm up
            x = images(repeat, device)
            plain, features = watch(run, x), network.encode(x)
            times = (plain, watch(units[levels], features), watch(whole[levels], x))
            if repeat > 1:
                found[levels].append(times)
    return found


def show(name: str, found: dict[str, list[tuple[float, float, float]]]) -> None:
    """One row for each of the levels."""
    for levels, times in found.items():
        network, units, whole = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(alone / plain for plain, alone, _ in times)
        goal = f"{GOALS[levels]:.1%}, {'met' if ratio <= GOALS[levels] else 'missed'}"
        print(f"| {name} | {levels} | {network:.2f} | {units:.3f} | {ratio:.2%} | {goal} | {whole:.2f} |", flush=True)


def stored() -> None:
    """Numbers that the units keep, and the paper's times."""
    attached = prepare(MODES[0], "cpu")
    print("| levels | stored numbers | the paper's | units, ms (2080 Ti) | network, ms | units / network |")
    print("|---|---|---|---|---|---|")
    for levels, each in attached.items():
        units, network, size = PAPER[levels]
        ours = f"{each.plugin.stored_numbers():,}"
        print(f"| {levels} | {ours} | {size} | {units:.2f} | {network:.2f} | {units / network:.1%} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="also under torch.compile, which takes minutes")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; the times are summed over them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stored()
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {arguments.threads} thread(s)"
        print(f"\n{where}; torch {torch.__version__}; medians of {arguments.repeats}\n")
        print("| mode | levels | network, ms | units, ms | units / network | goal | with units, ms |")
        print("|---|---|---|---|---|---|---|")
        for compiled in (False, True) if arguments.compile else (False,):
            for mode in MODES:
                name = mode.name + (", compiled" if compiled else "")
                show(name, measure(mode, device, repeats=arguments.repeats, compiled=compiled))


if __name__ == "__main__":
    main()
