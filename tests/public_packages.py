"""Tiny trees in the exact layout of what people download, so that preparing them is tested without the downloads."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

FUNDUS = {
    "Domain1": ("gdrishtiGS_{:03d}", "ndrishtiGS_{:03d}"),
    "Domain2": ("G-{}-L", "N-{}-R"),
    "Domain3": ("g{:04d}", "n{:04d}"),
    "Domain4": ("V{:04d}", "V{:04d}"),
}
RIGA = ("BinRushed", "Magrabia", "MESSIDOR_Base1", "MESSIDOR_Base2", "MESSIDOR_Base3")
SITES = ("RUNMC", "BMC", "HCRUDB", "UCL", "BIDMC", "HK")


def photograph(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def disc(size: tuple[int, int], *, background: int, rim: int, cup: int) -> np.ndarray:
    """A cup in a rim in the middle."""
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot((y - size[0] / 2) / size[0], (x - size[1] / 2) / size[1])
    return np.select([distance < 0.15, distance < 0.35], [cup, rim], background).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_fundus(root: Path, *, cases: int = 2, size: tuple[int, int] = (24, 20), lists: bool = True) -> Path:
    """The DoFE package; ``cases`` in each of train and test."""
    seed = 0
    for domain, names in FUNDUS.items():
        for split in ("train", "test"):
            lines = []
            for index in range(cases):
                seed += 1
                name = names[index % 2].format(seed)
                folder = f"{domain}/{split}/ROIs"
                save(root / folder / "image" / f"{name}.png", photograph(seed, size))
                save(root / folder / "mask" / f"{name}.png", disc(size, background=255, rim=128, cup=0))
                lines.append(f"{folder}/image/{name}.png {folder}/mask/{name}.png")
            if lists:
                (root / f"{domain}_{split}.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_riga(root: Path, *, cases: int = 1, size: tuple[int, int] = (24, 20)) -> Path:
    """The RIGA+ package with readers 1 and 2."""
    seed = 0
    for site in RIGA:
        for split in ("train", "test"):
            lines = ["image,mask"]
            for _ in range(cases):
                seed += 1
                place = f"{site}/{site}1/image{seed}.tif"
                save(root / "RIGA" / place, photograph(seed, size))
                for reader in (1, 2):
                    mask = disc(size, background=0, rim=255, cup=128)
                    save(
                        root / "RIGA-mask" / place.replace(".tif", f"-{reader}.tif"), np.roll(mask, reader - 1, axis=0)
                    )
                lines.append(f"RIGA/{place},RIGA-mask/{place}")
            (root / f"{site}_{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


AFFINE = np.diag([-0.6, -0.6, 3.0, 1.0]) + np.array([[0, 0, 0, 30.0], [0, 0, 0, 40.0], [0, 0, 0, -20.0], [0] * 4])


def volume(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def write_prostate(
    root: Path, *, cases: int = 2, side: int = 16, depth: int = 3, sites: tuple[str, ...] = SITES
) -> Path:
    """The SAML collection: arrays are [x, y, z] with labels 1 and 2 in the middle of all slices but the first."""
    seed = 0
    for site in sites:
        for index in range(cases):
            seed += 1
            array = np.random.default_rng(seed).integers(0, 900, (side, side, depth)).astype(np.int16)
            labels = np.zeros_like(array, np.uint8)
            third = side // 3
            labels[third : 2 * third, third : 2 * third, 1:] = 1
            labels[third, third : 2 * third, 1:] = 2
            array[labels > 0] += 400
            volume(root / site / f"Case{index:02d}.nii.gz", array)
            volume(root / site / f"Case{index:02d}_segmentation.nii.gz", labels)
    return root
