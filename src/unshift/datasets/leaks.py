"""Test cases that are also trained on: found by patient and by content, before anything can be scored on them.

Only leaks between declared splits of one domain are looked for; whether images are doubled otherwise is what
`unshift data check` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift.datasets.problem import Problem
from unshift.datasets.survey import Item

LEAK = "leak"
"""The kind of every such finding; ``prepare(..., accept_leak=True)`` makes warnings of them."""
REMEDY = "Take the case out of one split, or say --accept-leak: every page will name the leak."
_SHOWN = 3


def slice_digests(
    image: Float[Tensor, "channel depth height width"], label_map: Int[Tensor, "depth height width"]
) -> list[str]:
    """A digest of each slice that shows a structure; the others (air, padding) may well be equal by chance.

    Two digests are equal exactly when all numbers of the slices are.
    """
    shown = torch.nonzero(label_map.flatten(1).any(dim=1)).flatten().tolist()
    slices = image.movedim(1, 0).contiguous().numpy()
    return [hashlib.sha256(str(slices[i].shape).encode() + slices[i].tobytes()).hexdigest()[:16] for i in shown]


def same_patient(items: Iterable[Item]) -> dict[str, list[Problem]]:
    """By domain, an error for each patient that stands in two splits."""
    first: dict[tuple[str, str], Item] = {}
    found: dict[str, list[Problem]] = {}
    for item in sorted(items, key=lambda item: item.split != "test"):
        if item.split is None:
            continue
        other = first.setdefault((item.domain, item.patient), item)
        if other.split != item.split and other.key != item.key:  # a case of one name is said to be doubled elsewhere
            what = f"is of {item.patient} in split {item.split}; {other.image} shows the same case in split "
            problem = Problem(LEAK, "error", item.image, f"{what}{other.split}", REMEDY)
            found.setdefault(item.domain, []).append(problem)
    return found


def same_content(items: Sequence[Item], contents: Mapping[str, Sequence[str]]) -> dict[str, list[Problem]]:
    """By domain, an error for each test case that has slices in common with cases of another split.

    Args:
        items: cases with their splits; those without one will be trained on.
        contents: item's key -> :func:`slice_digests`.
    """
    trained: dict[tuple[str, str], Item] = {}
    for item in items:
        if item.split != "test":
            for digest in contents.get(item.key, ()):
                trained.setdefault((item.domain, digest), item)
    found: dict[str, list[Problem]] = {}
    for item in (item for item in items if item.split == "test"):
        digests = contents.get(item.key, ())
        shared = [trained[item.domain, d] for d in digests if (item.domain, d) in trained]
        if shared:
            names = list(dict.fromkeys(f"{other.name} ({other.split or 'to be trained on'})" for other in shared))
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            what = f"{len(shared)} of {len(digests)} slices with structures are, number by number, those of "
            problem = Problem(LEAK, "error", item.image, what + ", ".join(names[:_SHOWN]) + more, REMEDY)
            found.setdefault(item.domain, []).append(problem)
    return found
