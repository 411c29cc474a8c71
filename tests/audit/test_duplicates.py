"""Altered copies are found, other images of the same device are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from unshift.audit.duplicates import Fingerprint, fingerprint, similar_pairs
from unshift.sample import Case, Sample


def scan(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A dark sector with smooth texture: all images share their surround, as those of one device do."""
    coarse = np.random.default_rng(seed).integers(40, 220, (14, 14)).astype(np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)).astype(float)
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.where(abs(columns - size[1] / 2) < 10 + rows * 0.5, texture, 0).astype(np.uint8)


def printed(name: str, array: np.ndarray, domain: str = "A") -> Fingerprint:
    image = torch.from_numpy(array.astype(np.float32) / 255)[None]
    return fingerprint(Case(name, name, domain), Sample(image=image, case=name, patient=name, domain=domain))


def names(prints: list[Fingerprint]) -> list[tuple[str, str, bool]]:
    return [(p.first.name, p.second.name, p.is_exact) for p in similar_pairs(prints)]


def jpeg(array: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


ALTERED = {
    "jpeg": jpeg,
    "half": lambda a: np.asarray(Image.fromarray(a).resize((64, 48), Image.Resampling.LANCZOS)),
    "darker": lambda a: (a * 0.7).astype(np.uint8),
    "brighter": lambda a: np.clip(a * 1.1 + 8, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_altered_copies_are_found_among_others(kind: str) -> None:
    prints = [printed(str(seed), scan(seed)) for seed in range(15)]
    assert names(prints) == []
    assert names([*prints, printed("copy", ALTERED[kind](scan(4)), "B")]) == [("4", "copy", False)]


def test_exact_copies_are_called_exact() -> None:
    assert names([printed("a", scan(1)), printed("b", scan(1)), printed("c", scan(2))]) == [("a", "b", True)]


def test_blank_images_resemble_nothing() -> None:
    blank = [printed(str(value), np.full((20, 20), value)) for value in (0, 0, 9)]
    assert all(p.bits is None for p in blank)
    assert names(blank) == []


def test_one_pixel_and_nothing() -> None:
    assert printed("dot", np.array([[7]])).bits is None
    assert names([]) == []


def test_volumes_are_compared_by_their_middle_slice() -> None:
    volume = torch.from_numpy(np.stack([scan(seed) for seed in range(3)]).astype(np.float32))[None]
    sample = Sample(image=volume, case="v", patient="v", domain="A")
    flat = printed("flat", scan(1))
    solid = fingerprint(Case("v", "v", "A"), sample)
    assert flat.bits is not None and solid.bits is not None
    assert (flat.bits == solid.bits).all()


def test_blocks_join_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [printed(str(seed), scan(seed % 5)) for seed in range(10)]
    whole = names(prints)
    monkeypatch.setattr("unshift.audit.duplicates._BLOCK", 3)
    assert sorted(names(prints)) == sorted(whole) == [(str(i), str(i + 5), True) for i in range(5)]
