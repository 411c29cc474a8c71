"""A process that trains, to be killed (``resume FOLDER SECONDS_PER_STEP``) or to be one of two (``ddp FOLDER KIND``)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
import training_doubles as doubles

from unshift.train.devices import Devices
from unshift.train.loop import fit
from unshift.train.settings import TrainConfig

RESUME = TrainConfig(
    steps=24,
    batch_size=4,
    validate_every=5,
    checkpoint_every=3,
    sampling="balanced",
    learning_rate=1e-2,
    precision="32",
)
SHARED = TrainConfig(
    steps=12, batch_size=4, accumulate=2, learning_rate=1e-2, clip=1.0, precision="32", sampling="balanced"
)


def score(objective: torch.nn.Module) -> float:
    """A validation score that goes up and down with the weights."""
    return float(objective(torch.ones(1, 1, 16, 16)).mean())


def resumable(folder: Path, pause: float) -> None:
    """Dropout, batch norm, two phases, target images, all of which must come back as they were."""
    torch.manual_seed(time.time_ns())  # the session's own random state must not matter
    fit(
        doubles.build(doubles.TwoPhases),
        doubles.loader(RESUME),
        config=RESUME,
        folder=folder,
        seed=5,
        validate=score,
        unlabeled=doubles.target_loader(RESUME),
        listener=lambda progress: time.sleep(pause),
    )


def shared(folder: Path, kind: str, processes: int) -> None:
    """Instance norm and no noise, so that the images of a batch do not see how it is shared out."""
    objective = doubles.build(getattr(doubles, kind), norm="instance", dropout=0.0)
    targets = doubles.target_loader(SHARED)
    devices = Devices(accelerator="cpu", devices=processes)
    fit(objective, doubles.loader(SHARED), config=SHARED, folder=folder, seed=5, devices=devices, unlabeled=targets)


if __name__ == "__main__":
    torch.set_num_threads(1)
    mode, target, argument = sys.argv[1:]
    if mode == "resume":
        resumable(Path(target), float(argument))
    else:
        shared(Path(target), argument, 2)
