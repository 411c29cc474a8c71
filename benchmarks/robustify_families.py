"""`unshift robustify` on one network of every family that it takes: ``make robustify-families``, or

``python benchmarks/robustify_families.py [--only Unet] [--steps 24] [--page docs/results/robustify_families.md]``.

Each network is small, trained for some steps on generated ultrasound, and saved as its own library saves it. Then the
real command line is run in a process of its own, once with `robustify` and once with `predict`, and four things are
looked at from outside:

- the taps that were found;
- with the saved units at strength 0, the output of the network that we still hold in memory, bit for bit;
- what `unshift predict` says of images of another machine, against that network with these units in memory;
- the SHA-256 of the user's own files, before and after.

The page is written when all networks have been through. A network that fails leaves the script with an error.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from robustify_networks import DEVIATION, ENTRIES, MEAN, SIZE, Entry, build, save, seen, train
from torch import Tensor, nn

from unshift.datasets.phantom import Config as PhantomConfig
from unshift.datasets.phantom import Phantom
from unshift.experiment.given import ModuleOptions, open_model
from unshift.export.bundle import Bundle, load_bundle
from unshift.formats.reading import read_image
from unshift.networks.own import own_network
from unshift.sample import Sample

IMAGES = 16
SAVED = "adain-multi"
"""Saved whatever the rule says, so that every bundle has units at several taps."""
CHOICES = ("--plugins", "adain,din", "--levels", "single,multi", "--gates", "none", "--objectives", "statistics")
QUICK = ("--steps", "10", "--strengths", "1", "--cases", "2", "--choose", SAVED, "--seed", "0", "--accelerator", "cpu")
PACKAGES = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "monai", "dynamic-network-architectures")
OPERATORS = """\
import importlib.metadata
import torch
if torch.version.cuda is None and "+cpu" not in importlib.metadata.version("torchvision"):
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""A torchvision from PyPI beside a torch without CUDA lacks its operators; without their schemas it does not import."""


# -------------------------------------------------------------------------------------------------- images on disk


def write_images(folder: Path) -> tuple[Tensor, Tensor]:
    """``source/{images,masks}`` of machine A and ``new`` of machine B; returns A's as tensors."""
    phantom = Phantom(PhantomConfig(size=SIZE, domains=("A", "B"), cases=IMAGES, frames=1, seed=3))
    pairs = [phantom.read(case) for case in phantom.cases("A")]
    for sample in pairs:
        assert sample.label_map is not None
        write_png(folder / "source" / "images" / f"{sample.case}.png", 255 * sample.image[0])
        write_png(folder / "source" / "masks" / f"{sample.case}.png", 255 * sample.label_map)
    for case in phantom.cases("B")[:2]:
        write_png(folder / "new" / f"{case.name}.png", 255 * phantom.read_image(case).image[0])
    labels = torch.stack([sample.label_map for sample in pairs if sample.label_map is not None])
    return torch.stack([sample.image for sample in pairs]), labels


def write_png(path: Path, array: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.clamp(0, 255).round().to(torch.uint8).numpy()).save(path)


# ------------------------------------------------------------------------------------------------- the command line


def unshift(folder: Path, *arguments: str) -> tuple[str, float]:
    """Run the command in ``folder``; its output and its seconds.

    Raises:
        RuntimeError: an exit code other than 0.
    """
    command = [str(Path(sys.executable).parent / "unshift"), *arguments]
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout, time.perf_counter() - began


def digests(*folders: Path) -> dict[str, str]:
    """Of every file below the folders."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --------------------------------------------------------------------------------------------------- what is looked at


@dataclass(frozen=True)
class Found:
    """What came out for one network."""

    entry: Entry
    parameters: float
    taps: str
    by_the_rule: str
    dice: tuple[str, str]
    strength_zero: str
    megabytes: float
    gap: float
    pixels: int
    checks: str
    seconds: tuple[float, float]

    @property
    def problems(self) -> bool:
        return self.strength_zero != "yes" or self.gap > 1e-5 or self.pixels > 0 or "FAILED" in self.checks


def examine(entry: Entry, folder: Path, images: Tensor, labels: Tensor, steps: int) -> Found:
    """Train, save, run the command line, look."""
    place = folder / f"{entry.family.partition(' ')[0]}-{entry.name}"  # "Unet" and "UNet" are one name to some disks
    place.mkdir()
    network = build(entry)
    train(network, seen(entry, images), labels, steps)
    model, options = save(entry, network, place)
    before, weights = digests(place, folder / "source"), {k: v.clone() for k, v in network.state_dict().items()}
    words = ["robustify", model, *options, "--images", "../source", *CHOICES, *QUICK, "--output", "out", "--json"]
    said, fitting = unshift(place, *words)
    told = json.loads(said)
    _, predicting = unshift(place, "predict", "out/bundle", "../new", "--probabilities", "--output", "said")
    after = digests(place, folder / "source")
    changed = [name for name, digest in before.items() if after.get(name) != digest]
    if changed or any(not torch.equal(v, weights[k]) for k, v in network.state_dict().items()):
        raise RuntimeError(f"{entry.name}: the user's files or network were changed: {changed}")
    memory = in_memory(entry, network, place)
    zero = strength_zero(entry, memory, network, images)  # before a predictor puts its weights in another layout
    gap, pixels = difference(memory, folder / "new", place / "said")
    standings = {c["name"]: c for c in told["candidates"]}
    failed = [check["name"] for check in told["checks"] if not check["holds"]]
    return Found(
        entry=entry,
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        taps="; ".join(f"{t['name']} {t['stride']}×{t['channels']}" for t in told["taps"]),
        by_the_rule=next((n for n, c in standings.items() if c["verdict"] == "best by the rule"), "none"),
        dice=(before_and_after(standings, "in_domain"), before_and_after(standings, "shifted")),
        strength_zero=zero,
        megabytes=sum(p.stat().st_size for p in (place / "out" / "bundle").iterdir()) / 1e6,
        gap=gap,
        pixels=pixels,
        checks=f"{len(told['checks'])} hold" if not failed else f"FAILED: {failed}",
        seconds=(fitting, predicting),
    )


def before_and_after(standings: Mapping[str, Any], where: str) -> str:
    return " → ".join(f"{100 * standings[name][where][0]:.0f}" for name in ("none", SAVED))


def in_memory(entry: Entry, network: nn.Module, place: Path) -> Bundle:
    """The network that we hold, with the units that were saved; of the bundle's network nothing is taken."""
    read = load_bundle(place / "out" / "bundle")
    if entry.is_nnunet:
        given = open_model(str(place / "nnUNetTrainer__nnUNetPlans__2d")).bundle
        own = own_network(network, given.task, size_divisor=(8, 8))
        return replace(given, network=own.eval(), plugins=read.plugins)
    options = ModuleOptions(
        weights=place / "state.pt",
        arguments=dict(entry.arguments),
        classes=("background", "head"),
        channels=1,
        size=SIZE,
        settings={"mean": [MEAN], "deviation": [DEVIATION]},
    )
    given = open_model(entry.builder, options).bundle
    own = own_network(network, given.task, mean=[MEAN], deviation=[DEVIATION])
    return replace(given, network=own.eval(), plugins=read.plugins)


@torch.no_grad()
def strength_zero(entry: Entry, memory: Bundle, network: nn.Module, images: Tensor) -> str:
    """The units at strength 0 in the network, against the library's own forward."""
    (plugin,) = memory.plugins
    weak = type(plugin)(plugin.config.model_copy(update={"strength": 0.0}))
    weak.load_state_dict(plugin.state_dict())
    given = seen(entry, images) if entry.is_nnunet else images
    plain = network(seen(entry, images))
    if not torch.equal(weak.attach(memory.network)(given), plain):
        return "NO"
    full = (plugin.attach(memory.network)(given) - plain).abs().max().item()
    return "yes" if full > 0 else "yes, BUT UNITS DO NOTHING"


def difference(memory: Bundle, new: Path, said: Path) -> tuple[float, int]:
    """Largest difference of a probability, and how many pixels' labels differ, over the new images."""
    predictor = replace(memory, predict=memory.predict.model_copy(update={"probabilities": True})).predictor("cpu")
    gap, pixels = 0.0, 0
    for path in sorted(new.iterdir()):
        sample = Sample(read_image(path).array, path.stem, path.stem, "new")
        expected = predictor.predict(sample)
        assert expected.probabilities is not None
        gap = max(gap, float(np.abs(np.load(said / f"{path.stem}.npy") - expected.probabilities.numpy()).max()))
        labels = np.asarray(Image.open(said / f"{path.stem}.png"))
        pixels += int((labels != expected.label_map.numpy()).sum())
    return gap, pixels


# ------------------------------------------------------------------------------------------------------------ the page


def row(one: Found) -> str:
    cells = (f"{one.entry.family}: {one.entry.name}", f"{one.parameters:.2f}", one.taps, one.by_the_rule)
    cells += (*one.dice, one.strength_zero, f"{one.megabytes:.1f}", f"{one.gap:.1g}", str(one.pixels), one.checks)
    return f"| {' | '.join((*cells, ' + '.join(f'{s:.0f}' for s in one.seconds)))} |"


def page(found: list[Found], steps: int, *, declared: bool) -> str:
    """The results in Markdown."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    header = (
        "network",
        "parameters, M",
        "taps found: name stride×channels",
        "by the rule",
        "Dice in-domain",
        "shifted",
    )
    header += ("strength 0", "bundle, MB", "largest difference", "labels that differ", "checks", "seconds")
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *map(row, found)]
    return TEXT.format(
        count=len(found),
        versions=f"Python {platform.python_version()}, {versions}",
        load=f"{os.getloadavg()[0]:.1f}",
        steps=steps,
        images=IMAGES,
        saved=SAVED,
        size="×".join(map(str, SIZE)),
        choices=" ".join((*CHOICES, *QUICK)),
        declared=DECLARED if declared else "",
        table="\n".join(lines),
    )


TEXT = """\
# `unshift robustify` on one network of every family

`make robustify-families` makes the environment `.venv-timm` where there is none, and this page in it; for a fresh one,
`rm -rf .venv-timm` first. {versions};
one thread of a shared CPU, load average at the end {load}.

{count} small networks, built by their own libraries with seed 0, trained for {steps} steps on {images} generated
ultrasound images of {size} pixels, and saved as their users have them: `torch.save(network.state_dict(), …)`, or an
nnU-Net results folder. Then

```
unshift robustify MODEL [--weights state.pt --argument … --classes background,head --channels 1 --size 64,96
  --mean 0.2 --deviation 0.2] --images source
  {choices}
unshift predict out/bundle new --probabilities
```

- **taps found**: by `robustify` itself, from one forward pass; no name was given.
- **by the rule**: what `robustify` would have saved by itself. `{saved}` was saved (`--choose`), so that every bundle
  holds units at several taps.
- **Dice**: points on held-out images, none → `{saved}`, in-domain and under simulated shifts. These networks are barely
  trained: the figures show that the command works, not what a repair is worth.
- **strength 0**: the library's own forward and the network with the saved units at strength 0 give the same bits on
  {images} images (and at strength 1 they do not).
- **largest difference**: of a probability, between `unshift predict` on two images of another machine and the network
  in memory (the object that was trained, not read from a file) with the units of the bundle; **labels that differ**:
  pixels. This is a test of the network's way into the bundle and out again. The units are read from the bundle on
  both sides: were they damaged while they were saved, it would not show here, but in the check of `robustify` that
  its bundle predicts as in memory, which the next column counts.
- **checks**: those that `robustify` makes of itself. The weights in memory and all files of the user were the same
  afterwards, else there would be no page.
- **seconds**: of `robustify` and of `predict`, starting Python and importing libraries included.

{table}
{declared}"""
DECLARED = """
A torchvision from PyPI beside a torch without CUDA, as here, lacks its operators and does not import. The script
declares the schemas of two of them for the processes that it starts, as `tests/conftest.py` does; no network here calls
them.
"""
_KEPT: list[Any] = []
"""What must live as long as the process: the declared operators."""


def declare_operators(folder: Path) -> bool:
    """Make torchvision import here and in the processes that are started; False where it does by itself."""
    if torch.version.cuda is not None or "+cpu" in importlib.metadata.version("torchvision"):
        return False
    library = folder / "libraries"
    library.mkdir()
    (library / "sitecustomize.py").write_text(OPERATORS, encoding="utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(library), os.environ.get("PYTHONPATH"))))
    _KEPT.append(runpy.run_path(str(library / "sitecustomize.py")))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="names of networks; default: all")
    parser.add_argument("--steps", type=int, default=24, help="of training")
    parser.add_argument("--page", type=Path, help="write the page here; default: print it")
    told = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="robustify-families-") as temporary:
        folder = Path(temporary)
        declared = declare_operators(folder)
        images, labels = write_images(folder)
        for entry in ENTRIES:
            if told.only and entry.name not in told.only:
                continue
            print(f"{time.strftime('%H:%M:%S')} {entry.family}: {entry.name} …", file=sys.stderr, flush=True)
            found.append(examine(entry, folder, images, labels, told.steps))
            print(f"  {row(found[-1])}", file=sys.stderr, flush=True)
    text = page(found, told.steps, declared=declared)
    if told.page:
        told.page.write_text(text, encoding="utf-8")
    else:
        print(text)
    bad = [one.entry.name for one in found if one.problems]
    if bad:
        raise SystemExit(f"not as it must be: {', '.join(bad)}")


if __name__ == "__main__":
    main()
