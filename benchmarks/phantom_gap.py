"""How many Dice points each ultrasound shift costs: ``python benchmarks/phantom_gap.py [--seed N] [--treatment NAME]``.

A small U-Net is trained on vendor A (120 images) and scored on 40 held-out images of A, of B, of C and of each knob's
shift at full strength. Plain PyTorch, apart from the package's own training, so that it measures the phantom alone.
Treatments: ``none``, ``equalized`` (histogram equalization), ``augmented`` (brightness, contrast, gamma, blur, noise).
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import torch
import torch.nn.functional as F
from skimage.exposure import equalize_hist
from torch import Tensor, nn

from unshift.datasets.phantom import Config, Phantom
from unshift.phantom.ultrasound import UltrasoundKnobs

TRAIN, TEST, SIZE = 120, 40, 96
SHIFTS = ("A+B@0.25", "A+B@0.5", "A+B@0.75", *(f"A+{knob}@1" for knob in UltrasoundKnobs.model_fields))


class Block(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        layers = [
            m
            for c in (before, after)
            for m in (nn.Conv2d(c, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        ]
        super().__init__(*layers)


class SmallUNet(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.down = nn.ModuleList([Block(b, a) for b, a in zip((1, *widths), widths, strict=False)])
        self.up = nn.ModuleList([Block(a + b, a) for a, b in itertools.pairwise(widths)])
        self.out = nn.Conv2d(widths[0], 2, 1)
        self.mean, self.deviation = 0.0, 1.0  # of the source images, set before training

    def forward(self, x: Tensor) -> Tensor:
        features = []
        x = (x - self.mean) / self.deviation
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            features.append(x)
        for block, skip in zip(reversed(self.up), reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, F.interpolate(x, scale_factor=2.0)], 1))
        return self.out(x)


def images(dataset: Phantom, domain: str, part: slice, *, equalized: bool) -> tuple[Tensor, Tensor]:
    samples = [dataset.read(case) for case in dataset.cases(domain)[part]]
    if equalized:
        pictures = [equalize_hist(s.image[0].numpy(), mask=s.field_of_view.numpy()) for s in samples]
        stacked = torch.from_numpy(np.stack(pictures))[:, None].float()
        stacked *= torch.stack([s.field_of_view for s in samples])[:, None]
    else:
        stacked = torch.stack([s.image for s in samples])
    return stacked, torch.stack([s.label_map for s in samples])


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(len(x), 1, 1, 1).uniform_(low, high, generator=generator)

    x = x.clamp(1e-4, 1) ** torch.exp(uniform(-0.5, 0.5))
    x = ((x - 0.3) * uniform(0.6, 1.5) + 0.3 + uniform(-0.2, 0.2)).clamp(0, 1)
    width = float(torch.rand(1, generator=generator) * 1.6) + 0.1
    kernel = torch.exp(-(torch.arange(-4, 5.0) ** 2) / (2 * width**2))
    kernel = kernel / kernel.sum()
    blurred = F.conv2d(
        F.conv2d(F.pad(x, (4, 4, 4, 4), mode="reflect"), kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1)
    )
    x = torch.where(uniform(0, 1) < 0.5, blurred, x)
    return (x + torch.randn(x.shape, generator=generator) * uniform(0, 0.1)).clamp(0, 1)


def train(x: Tensor, y: Tensor, *, seed: int, steps: int, augment: bool) -> nn.Module:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = SmallUNet()
    network.mean, network.deviation = float(x.mean()), float(x.std())
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, 0.9)
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (8,), generator=generator)
        image, label = x[chosen], y[chosen]
        logits = network(augmented(image, generator) if augment else image)
        head = logits.softmax(1)[:, 1]
        overlap = (2 * (head * label).sum((1, 2)) / (head.sum((1, 2)) + label.sum((1, 2)) + 1)).mean()
        loss = F.cross_entropy(logits, label) + 1 - overlap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def dice(network: nn.Module, x: Tensor, y: Tensor) -> float:
    head = network(x).argmax(1)
    return float((2 * (head * y).sum((1, 2)) / (head.sum((1, 2)) + y.sum((1, 2)))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--treatment", choices=("none", "equalized", "augmented"), default="none")
    options = parser.parse_args()
    equalized = options.treatment == "equalized"
    dataset = Phantom(Config(size=SIZE, cases=TRAIN + TEST, domains=("A", "B", "C", *SHIFTS), seed=0))
    x, y = images(dataset, "A", slice(0, TRAIN), equalized=equalized)
    start = time.perf_counter()
    network = train(x, y, seed=options.seed, steps=options.steps, augment=options.treatment == "augmented")
    print(f"seed {options.seed}, {options.treatment}, trained in {time.perf_counter() - start:.0f} s", flush=True)
    held_out = slice(TRAIN, TRAIN + TEST)
    base = dice(network, *images(dataset, "A", held_out, equalized=equalized))
    for domain in dataset.domains:
        score = dice(network, *images(dataset, domain, held_out, equalized=equalized))
        print(f"{domain:22s} {100 * score:6.1f} {100 * (score - base):+6.1f}", flush=True)


if __name__ == "__main__":
    main()
