"""Draw the references of recipes/dcin_cqg/bad_reference.yaml: ``python benchmarks/reference_pictures.py [FOLDER]``.

One good picture (the source camera's) and what goes wrong in practice: a frame before the lamp is on, one into the
lamp, the screen without a signal, and another organ. All are generated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unshift.datasets.phantom import Config, Phantom
from unshift.randomness import torch_generator

SIDE, SEED, PATIENT = 128, 2025, 5


def photograph(world: str, domain: str) -> Tensor:
    """float32 [3, 128, 128] in [0, 1], of a patient whom no recipe tests."""
    phantom = Phantom(Config(world=world, domains=(domain,), size=SIDE, cases=16, frames=1, seed=SEED))
    return phantom.read_image(phantom.cases(domain)[PATIENT]).image


def pictures() -> dict[str, Tensor]:
    """File name -> picture."""
    throat = photograph("endoscopy", "clinic")
    noise = torch.randn(throat.shape, generator=torch_generator(SEED))
    no_signal = torch.tensor([0.05, 0.1, 0.75])[:, None, None].expand_as(throat)
    return {
        "black_frame.png": (0.03 * throat + 0.005 * noise).clamp(0, 1),
        "into_the_lamp.png": (throat + 0.85).clamp(0, 1),
        "no_signal.png": no_signal,
        "other_organ.png": photograph("fundus", "camera1"),
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "recipes" / "dcin_cqg" / "bad"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        pixels = (255 * picture.numpy()).round().astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / name)
        print(folder / name)


if __name__ == "__main__":
    main()
