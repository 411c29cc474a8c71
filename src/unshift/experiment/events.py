"""What a long run tells whoever listens: which job, how far, how long is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Job:
    """A part of a run with a countable length.

    Args:
        name: in plain words, unique within the run (``train baseline``, ``test augmented``).
        kind: training counts steps, testing counts cases.
        total: steps or cases.
        key: equal keys mean one shared piece of work, done once.
    """

    name: str
    kind: Literal["train", "test"]
    total: int
    key: str


@dataclass(frozen=True)
class Event:
    """Progress within one job; ``done == total`` ends it."""

    job: str
    done: int
    total: int
    detail: str = ""


Listener = Callable[[Event], None]


def silence(event: Event) -> None:
    """The listener that says nothing."""
