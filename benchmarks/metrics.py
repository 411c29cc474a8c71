"""Speed of surface distances beside MedPy and MONAI, on the same masks, in the same run.

python benchmarks/metrics.py [--output docs/results] [--repeats 15]

Every contestant computes the same quantities, and the run stops if they differ by more than 1e-6 (MONAI returns
float32, so relative to the value). `hd95` is one number; `hd + hd95 + assd` is what an evaluation needs: our library
compares the surfaces once for all three, the peers' interfaces compare them once for each. Calls alternate, and shown
is the fastest of each, which other work on the machine disturbs least; MONAI may choose between one and two threads of
torch. Goals: 14 times MedPy and 3 times MONAI on 512², 16 and 2 on 128³.
"""

from __future__ import annotations

import argparse
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
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import gaussian_filter

from unshift.metrics.surface import Percentile, assd, hd, hd95, surface_distances

GOALS = {2: (14.0, 3.0), 3: (16.0, 2.0)}
"""Times MedPy, times MONAI, by number of axes."""
SPACING = (0.7, 1.3, 2.1)
Masks = tuple[np.ndarray, np.ndarray]
Contestant = Callable[[], list[float]]


def organ(shape: tuple[int, ...], radii: tuple[float, ...], *, shift: float, roughness: float, seed: int) -> np.ndarray:
    """An ellipsoid with a smooth random border, moved by ``shift`` voxels along every axis."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    distance = np.sqrt(sum(((g - n / 2 - shift) / r) ** 2 for g, n, r in zip(grid, shape, radii, strict=True)))
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 6)
    return distance + roughness * noise / noise.std() < 1


def pairs() -> dict[str, Masks]:
    found = {}
    for name, shape, radii in (("512²", (512, 512), (150.0, 110.0)), ("128³", (128,) * 3, (40.0, 35.0, 30.0))):
        reference = organ(shape, radii, shift=0, roughness=0.02, seed=0)
        found[f"{name} good"] = (organ(shape, radii, shift=1, roughness=0.02, seed=1), reference)
        found[f"{name} poor"] = (organ(shape, radii, shift=6, roughness=0.06, seed=1), reference)
    return found


def contestants(masks: Masks, *, pooled: bool) -> dict[str, dict[str, Contestant]]:
    spacing = SPACING[: masks[0].ndim]
    tensors = [torch.from_numpy(mask)[None, None] for mask in masks]
    kept = {"include_background": True, "spacing": spacing}
    way: Percentile = "pooled" if pooled else "max"

    def ours(workers: int) -> list[float]:
        found = surface_distances(*masks, spacing, workers=workers)
        return [hd(found), hd95(found, way=way), assd(found)]

    def ours_single(workers: int) -> list[float]:
        return [hd95(surface_distances(*masks, spacing, workers=workers), way=way)]

    return {
        "hd95": {
            "unshift": lambda: ours_single(2),
            "unshift, 1 thread": lambda: ours_single(1),
            "MedPy": lambda: [medpy.hd95(*masks, voxelspacing=spacing)],
            "MONAI": lambda: [float(compute_hausdorff_distance(*tensors, percentile=95, **kept))],
        },
        "hd + hd95 + assd": {
            "unshift": lambda: ours(2),
            "unshift, 1 thread": lambda: ours(1),
            "MedPy": lambda: [f(*masks, voxelspacing=spacing) for f in (medpy.hd, medpy.hd95, medpy.assd)],
            "MONAI": lambda: [
                float(compute_hausdorff_distance(*tensors, **kept)),
                float(compute_hausdorff_distance(*tensors, percentile=95, **kept)),
                float(compute_average_surface_distance(*tensors, symmetric=True, **kept)),
            ],
        },
    }


def check(masks: Masks) -> None:
    """Stop unless the numbers are the same."""
    for pooled, peer in ((True, "MedPy"), (False, "MONAI")):
        for calls in contestants(masks, pooled=pooled).values():
            np.testing.assert_allclose(calls["unshift"](), calls[peer](), rtol=1e-6, atol=1e-6)


def on_threads(number: int, call: Contestant) -> Contestant:
    def limited() -> list[float]:
        torch.set_num_threads(number)
        return call()

    return limited


def milliseconds(calls: dict[str, Contestant], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms caches
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: min(values) for name, values in times.items()}


def measure(repeats: int) -> pd.DataFrame:
    rows = []
    for name, masks in pairs().items():
        check(masks)
        goal_medpy, goal_monai = GOALS[masks[0].ndim]
        for quantity, calls in contestants(masks, pooled=False).items():
            monai = calls.pop("MONAI")  # on a busy machine torch's second thread costs more than it gives
            took = milliseconds(calls | {f"MONAI {n}": on_threads(n, monai) for n in (1, 2)}, repeats)
            took["MONAI"] = min(took.pop("MONAI 1"), took.pop("MONAI 2"))
            ratios = took["MedPy"] / took["unshift"], took["MONAI"] / took["unshift"]
            rows.append(
                {"masks": name, "quantity": quantity}
                | {f"{who} [ms]": round(value, 2) for who, value in took.items()}
                | {"times MedPy": round(ratios[0], 1), "times MONAI": round(ratios[1], 1)}
                | {"goals met": "yes" if ratios[0] >= goal_medpy and ratios[1] >= goal_monai else "no"}
            )
    return pd.DataFrame(rows)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def page(table: pd.DataFrame, repeats: int) -> str:
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns)
    body = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))
    packages = ", ".join(f"{name} {version(name)}" for name in ("medpy", "monai", "scipy", "numpy", "torch"))
    return f"""# Speed of surface distances

`python benchmarks/metrics.py` · {processor()}, {os.cpu_count()} cores · Python {platform.python_version()}, {packages}

Fastest of {repeats} alternating calls, in milliseconds, anisotropic spacing. *good*: a prediction about one voxel off;
*poor*: six voxels off and rough. Two threads, except where one is named; MONAI: the faster of one and two. Values of
all contestants agree to 1e-6. Goals: 14 × MedPy and 3 × MONAI on 512², 16 × and 2 × on 128³. Other work on the machine,
as its load average when done: {os.getloadavg()[1]:.1f}.

{head}
{body}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="folder for metrics_speed.md and metrics_speed.csv")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers
    table = measure(options.repeats)
    sys.stdout.write(page(table, options.repeats))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "metrics_speed.md").write_text(page(table, options.repeats), encoding="utf-8")
        table.to_csv(options.output / "metrics_speed.csv", index=False)


if __name__ == "__main__":
    main()
