"""A small network that segments bright discs, trained in a second, and such pictures on disk."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from unshift.export.bundle import Bundle
from unshift.geometry import InputConfig
from unshift.networks.unet import UNet, UNetConfig
from unshift.predict.settings import PredictConfig
from unshift.sample import Task

TASK = Task(1, ("background", "disc"))
SIDE = 48


def picture(index: int) -> tuple[Tensor, Tensor]:
    """A grey picture float32 [1, 48, 48] in [0, 1] with a textured bright disc, and its label map."""
    random = np.random.default_rng([7, index])
    rows, columns = np.mgrid[:SIDE, :SIDE]
    center, radius = random.uniform(16, 32, 2), random.uniform(8, 14)
    inside = np.hypot(rows - center[0], columns - center[1]) < radius
    image = np.where(inside, 0.65, 0.3) + random.normal(0, 0.06, (SIDE, SIDE))
    levels = np.round(255 * np.clip(image, 0.05, 1))
    return torch.from_numpy(levels / 255).float()[None], torch.from_numpy(inside).long()


@functools.cache
def trained() -> dict[str, Tensor]:
    """Weights after a hundred steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(UNetConfig(widths=(6, 12)), TASK)
        network.standardize(torch.tensor([0.4]), torch.tensor([0.2]))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        pairs = [picture(1000 + i) for i in range(24)]
        images, labels = (torch.stack(list(part)) for part in zip(*pairs, strict=True))
        for step in range(60):
            some = torch.arange(8) + 8 * (step % 3)
            loss = cross_entropy(network(images[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.state_dict()


def disc_bundle() -> Bundle:
    """The trained network as a bundle."""
    network = UNet(UNetConfig(widths=(6, 12)), TASK)
    network.load_state_dict(trained())
    return Bundle(network.eval(), TASK, InputConfig(size=(SIDE, SIDE)), PredictConfig())


def write_discs(folder: Path, count: int, *, masks: bool = True, start: int = 0) -> Path:
    """``<folder>/images`` and, with ``masks``, ``<folder>/masks``; returns ``folder``."""
    for index in range(start, start + count):
        image, label_map = picture(index)
        for part, array in (("images", 255 * image[0]), ("masks", 255 * label_map)):
            if part == "images" or masks:
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.round().to(torch.uint8).numpy()).save(folder / part / f"p{index:02d}.png")
    return folder
