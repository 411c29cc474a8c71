"""Seeds: one number decides a run; every step's randomness is a pure function of (seed, step).

Nothing here keeps state. A step that is repeated after a crash draws what it drew before, which is what makes a
resumed run end with the same weights as an undisturbed one.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
import torch


def derive(seed: int, *labels: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and on every label, the same on all machines and in all processes."""
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU generator for :func:`derive`'s seed."""
    return torch.Generator().manual_seed(derive(seed, *labels))


def numpy_generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A NumPy generator for :func:`derive`'s seed."""
    return np.random.default_rng(derive(seed, *labels))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's global generators for one step (dropout, drop-connect): a pure function of its arguments."""
    torch.manual_seed(derive(seed, "step", step, rank))


def make_deterministic() -> None:
    """Ask torch for deterministic kernels; operations without one raise instead of differing."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.backends.cudnn.benchmark = False
