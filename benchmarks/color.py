"""Speed of color transfer beside python-color-transfer and scikit-image, on the same images, in the same run.

python benchmarks/color.py [--output docs/results] [--repeats 40]

Peers: pip install python-color-transfer==0.1.2a0 opencv-python-headless (a peer that is missing is named and left out).
All move mean and deviation in CIE-Lab of a 768 × 512 RGB picture, and the run stops if results differ by more than 8
bits explain. Each works on what it is made for: ours on planes of floats, the peers on 8-bit arrays; two rows add the
way from and to 8 bits to ours. Peers look at the reference anew for each image; a run of ours keeps its statistics, and
two rows do not: the one with both does exactly what the peers do. Calls alternate and the fastest of each is shown, by
the clock and in processor time of all threads;
on a machine with other work the second is the one to trust. Goal: 6 times python-color-transfer. The plain row is the
differentiable way that other devices take.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.color import lab2rgb, rgb2lab
from torch.nn.functional import interpolate

from unshift.normalizations.color_method import ColorMethod
from unshift.normalizations.color_methods import METHODS, color_method

GOAL = 6.0
PEER = "python-color-transfer"
SIZE = (512, 768)
Array = np.ndarray
Call = Callable[[], Array | torch.Tensor]


def picture(seed: int, tint: tuple[float, float, float]) -> Array:
    generator = torch.Generator().manual_seed(seed)
    smooth = interpolate(torch.rand(1, 3, 16, 24, generator=generator), size=SIZE, mode="bicubic")[0]
    noise = 0.03 * torch.randn(3, *SIZE, generator=generator)
    image = (0.1 + 0.75 * smooth + noise) * torch.tensor(tint).view(3, 1, 1)
    return (image.clamp(0, 1) * 255).round().byte().movedim(0, -1).contiguous().numpy()


def to_tensor(array: Array) -> torch.Tensor:
    return (torch.from_numpy(array).movedim(-1, 0).to(torch.float32, memory_format=torch.contiguous_format) / 255)[None]


def to_array(images: torch.Tensor) -> Array:
    return images[0].mul_(255).round_().byte().movedim(0, -1).contiguous().numpy()


def ours(method: ColorMethod, image: Array, reference: Array) -> dict[str, Call]:
    """Of float planes, which is what a pipeline holds, and of 8-bit arrays."""
    planes, other = to_tensor(image), to_tensor(reference)
    kept = method.statistics(other)
    return {
        "unshift": lambda: method.transfer(planes, kept),
        "unshift, reference anew": lambda: method.transfer(planes, method.statistics(other)),
        "unshift, 8 bits in and out": lambda: to_array(method.transfer(to_tensor(image), kept)),
        "unshift, 8 bits in and out, reference anew": lambda: to_array(
            method.transfer(to_tensor(image), method.statistics(to_tensor(reference)))
        ),
        "unshift, plain": lambda: method.transfer(planes.clone().requires_grad_(), kept).detach(),
    }


def scikit_image(image: Array, reference: Array) -> Array:
    lab, wanted = rgb2lab(image), rgb2lab(reference)
    moved = (lab - lab.mean((0, 1))) / lab.std((0, 1)) * wanted.std((0, 1)) + wanted.mean((0, 1))
    return (lab2rgb(moved) * 255).round().astype(np.uint8)


def python_color_transfer(image: Array, reference: Array) -> Call:
    method = importlib.import_module("python_color_transfer.color_transfer").ColorTransfer()
    turned = [np.ascontiguousarray(array[..., ::-1]) for array in (image, reference)]  # BGR is what it takes
    return lambda: method.lab_transfer(*turned)


def contestants(image: Array, reference: Array) -> dict[str, Call]:
    found = ours(color_method("lab"), image, reference) | {"scikit-image": lambda: scikit_image(image, reference)}
    if importlib.util.find_spec("python_color_transfer"):
        return found | {PEER: python_color_transfer(image, reference)}
    sys.stderr.write(f"{PEER} is not installed; left out. pip install {PEER}==0.1.2a0 opencv-python-headless\n")
    return found


def check(calls: dict[str, Call]) -> dict[str, float]:
    """Mean differences to scikit-image in grey levels; stop where they are more than 8 bits explain."""
    results = {name: call() for name, call in calls.items()}
    levels = {name: 255 * to_hwc(r) if isinstance(r, torch.Tensor) else r.astype(float) for name, r in results.items()}
    if PEER in levels:
        levels[PEER] = levels[PEER][..., ::-1]
    differences = {name: float(np.abs(found - levels["scikit-image"]).mean()) for name, found in levels.items()}
    for name, difference in differences.items():
        if difference > (2.5 if name == PEER else 0.5):
            sys.exit(f"{name} differs from scikit-image by {difference:.2f} grey levels on average")
    return differences


def to_hwc(images: torch.Tensor) -> Array:
    return images[0].movedim(0, -1).numpy().astype(float)


def fastest(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds by the clock and of processors, each the least of ``repeats``."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            clock, processor = time.perf_counter(), time.process_time()
            call()
            if turn:  # the first turn warms caches
                times[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: tuple(1e3 * min(part) for part in zip(*found, strict=True)) for name, found in times.items()}


def measure(repeats: int, numbers: list[int]) -> tuple[pd.DataFrame, dict[str, float]]:
    image, reference = picture(0, (0.95, 0.6, 0.5)), picture(1, (0.8, 0.7, 0.6))
    calls = contestants(image, reference)
    differences = check(calls)
    rows = []
    for threads in numbers:
        torch.set_num_threads(threads)
        if PEER in calls:
            importlib.import_module("cv2").setNumThreads(threads)
        took = fastest(calls, repeats)
        for name, (clock, processor) in took.items():
            row = {
                "threads": threads,
                "transfer": name,
                "clock [ms]": round(clock, 1),
                "processor [ms]": round(processor, 1),
            }
            row["images per second"] = round(1e3 / clock)
            for peer in (PEER, "scikit-image"):
                if peer in took:
                    ratios = took[peer][0] / clock, took[peer][1] / processor
                    row[f"× {peer}, clock"], row[f"× {peer}, processor"] = (round(r, 1) for r in ratios)
            rows.append(row)
    return pd.DataFrame(rows), differences


def other_methods(repeats: int) -> pd.DataFrame:
    images, reference = to_tensor(picture(0, (0.95, 0.6, 0.5))), to_tensor(picture(1, (0.8, 0.7, 0.6)))
    torch.set_num_threads(1)
    calls = {}
    for name, method in METHODS.items():
        kept = method.statistics(reference)
        calls[name] = lambda method=method, kept=kept: method.transfer(images, kept)
    took = fastest(calls, max(3, repeats // 5))
    return pd.DataFrame(
        [{"method": name, "clock [ms]": round(c, 1), "processor [ms]": round(p, 1)} for name, (c, p) in took.items()]
    )


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns)
    return head + "\n" + "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))


def page(table: pd.DataFrame, differences: dict[str, float], methods: pd.DataFrame, repeats: int) -> str:
    peers = [PEER, "opencv-python-headless"] if PEER in differences else []
    packages = ", ".join(f"{name} {version(name)}" for name in (*peers, "scikit-image", "numpy", "torch"))
    apart = ", ".join(f"{name} {value:.2f}" for name, value in differences.items() if name != "scikit-image")
    return f"""# Speed of color transfer

`python benchmarks/color.py --repeats {repeats}` · {processor_name()}, {os.cpu_count()} cores ·
Python {platform.python_version()}, {packages}

Mean and deviation in CIE-Lab, one 768 × 512 RGB picture: planes of floats for ours, 8-bit arrays for the peers and for
the rows that say so; the row with both conditions does exactly what the peers do. Fastest of {repeats} alternating
calls, by the clock and in processor time of all threads. Other
work on the machine, as its load average when done: {os.getloadavg()[1]:.1f}. Above the number of cores the clock counts
waiting, more of it in longer calls, and two threads wait for each other: processor time of one thread is then the
figure to trust. Goal, on two cores: {GOAL:g} × {PEER}, which looks at the reference anew for each image; a run of ours
keeps its statistics.

{markdown(table)}

Mean difference to scikit-image, which is rounded to 8 bits, in grey levels: {apart}.

Every method, one thread, float32 planes in and out, the reference kept:

{markdown(methods)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="folder for color_speed.md and color_speed.csv")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers
    table, differences = measure(options.repeats, options.threads)
    text = page(table, differences, other_methods(options.repeats), options.repeats)
    sys.stdout.write(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "color_speed.md").write_text(text, encoding="utf-8")
        table.to_csv(options.output / "color_speed.csv", index=False)


if __name__ == "__main__":
    main()
