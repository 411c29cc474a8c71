"""Prostate in T2-weighted MRI of six sites: the SAML collection, as RAM-DSIR and its successors use it.

What is downloaded is a folder of NIfTI pairs a site, ``Case00.nii.gz`` and ``Case00_segmentation.nii.gz``, under the
sites' names or under those of RAM-DSIR's package; ``unshift data prepare prostate`` makes pairs of it. Label 2 becomes
1 (some sites draw the two zones, others the gland), and slices of another size than 384×384 are resampled to it.
The neighbouring slices of 2.5-D inputs are cut by the loader (``input.neighbours``), not stored.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from unshift import discover
from unshift.contracts import Card, Picture
from unshift.datasets.listing import listing, subfolders
from unshift.datasets.meaning import times
from unshift.datasets.paired import CardConfig, PairedRules
from unshift.datasets.prepared import PREPARED_TREE, PreparedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, extra, miscount, package_root
from unshift.errors import DataError
from unshift.formats import reading
from unshift.formats.files import read_bytes, write_bytes
from unshift.geometry import resize_image, resize_label_map

PACKAGE = """\
  <download>/<site>/<case>.nii.gz                   site: RUNMC or ISBI, BMC or ISBI_1.5, HCRUDB or I2CVB,
  <download>/<site>/<case>_segmentation.nii.gz      UCL, BIDMC, HK; labels 0, 1, 2
  <download>/DomainN/…                              RAM-DSIR's stored slices: not needed"""
_ALIASES = {"RUNMC": "ISBI", "BMC": "ISBI_1.5", "HCRUDB": "I2CVB", "UCL": "UCL", "BIDMC": "BIDMC", "HK": "HK"}
_PUBLISHED = {"RUNMC": 30, "BMC": 30, "HCRUDB": 19, "UCL": 13, "BIDMC": 12, "HK": 12}
_SLICES = tuple(f"Domain{n}" for n in range(1, 7))
_RESAMPLED = "resampled"
_SLICES_ARE = "slices are "
_SEGMENTATION = re.compile(r"[_-]?segmentation$", re.IGNORECASE)


class Prostate(PreparedFolders):
    """Six sites, one domain each."""

    Config = CardConfig
    rules = PairedRules(classes=("background", "prostate"), channels=1, spatial_dims=3)
    published = tuple(_ALIASES)
    marks = ("UCL", "BIDMC", "HK")
    side: ClassVar[int] = 384
    """Height and width of a prepared slice."""
    card = Card(
        title="Prostate MRI of six sites",
        source="liuquande.github.io/SAML, which joins NCI-ISBI 2013 (RUNMC, BMC), I2CVB (HCRUDB) and PROMISE12 (UCL, "
        "BIDMC, HK). Nothing is downloaded here.",
        licence="Not recorded here: each of the collections has its owners' terms. Read them before use.",
        patients="No ids: each volume is taken for a patient.",
        layout=f"The download:\n{PACKAGE}\nPrepared:\n{PREPARED_TREE}",
        defects="Sites differ in endorectal coil, field strength and slice thickness at once. The number of cases a "
        "site (30, 30, 19, 13, 12, 12) is the one commonly quoted; no checksums are known. Published figures rest on "
        "three incompatible choices of slices (all; the range that shows prostate; those whose reference is not "
        "empty): here all.",
        citation="Q. Liu, Q. Dou, P.-A. Heng. Shape-aware meta-learning for generalizing prostate MRI segmentation to "
        "unseen domains. MICCAI (2020). N. Bloch et al. NCI-ISBI 2013 challenge (2015). G. Lemaître et al. "
        "Computer-aided detection and diagnosis for prostate cancer. Comput Biol Med 60 (2015). G. Litjens et al. "
        "PROMISE12. Med Image Anal 18 (2014).",
    )

    @classmethod
    def survey(cls, source: Path) -> Survey:
        """Pairs by name of every site; RAM-DSIR's stored slices are left alone."""
        names = {*_ALIASES, *_ALIASES.values()}
        root = package_root(source, names, tree=PACKAGE)
        items: list[Item] = []
        counts: list[Count] = []
        problems = extra(root, (*names, *_SLICES), what="is none of the six sites, so it is left out")
        for site, published in _PUBLISHED.items():
            found, wrong = _site(root, site)
            items += found
            counts.append(Count(site, None, published, len(found)))
            problems += wrong
        return Survey(root, tuple(items), tuple(counts), tuple(problems))

    @classmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """The volume as it is, or resampled in plane; zones merged. Spacing, origin and orientation are kept."""
        try:
            image, labels = reading.read_image(item.image), reading.read_label_map(item.labels)
        except DataError as error:
            file = item.image if str(error).startswith(str(item.image)) else item.labels
            what, _, remedy = str(error).removeprefix(f"{file}: ").partition(". ")
            return [], [Problem("unusable file", "error", file, what, remedy)]
        problems = _faults(item, image, labels)
        if problems:
            return [], problems
        paths = [folder / part / f"{item.name}.nii.gz" for part in ("images", "masks")]
        size = (cls.side, cls.side)
        nifti = discover.load("formats", "nifti")()
        merged = Picture(labels.array.clamp(max=1), labels.spacing, labels.affine)
        if image.array.shape[2:] != size:
            found = times(image.array.shape[2:])
            what = f"{_SLICES_ARE}{found}; they were resampled to {times(size)}, the size of the published volumes"
            problems.append(Problem(_RESAMPLED, "warning", item.image, what, "Nothing need be done."))
            image = _in_plane(image, resize_image(image.array[0], size)[None])
            merged = _in_plane(merged, resize_label_map(merged.array, (len(merged.array), *size)))
            nifti.write_image(paths[0], image)
        else:
            write_bytes(paths[0], _zipped(item.image))
        nifti.write_label_map(paths[1], merged.array, like=merged)
        return paths, problems

    @classmethod
    def summed(cls, problems: Sequence[Problem]) -> list[Problem]:
        """One finding a site for all its volumes that were resampled, with their number and sizes."""
        sites: dict[Path, list[Problem]] = {}
        for problem in problems:
            if problem.kind == _RESAMPLED:
                sites.setdefault(problem.file.parent, []).append(problem)
        joined = []
        for site, found in sites.items():
            sizes = Counter(problem.what.removeprefix(_SLICES_ARE).partition(";")[0] for problem in found)
            shown = ", ".join(f"{size} ({count} volume{'s' * (count > 1)})" for size, count in sorted(sizes.items()))
            what = f"{_SLICES_ARE}{shown};{found[0].what.partition(';')[2]}"
            joined.append(replace(found[0], file=site, what=what))
        return [*(p for p in problems if p.kind != _RESAMPLED), *joined]


def _site(root: Path, site: str) -> tuple[list[Item], list[Problem]]:
    names = {site.lower(), _ALIASES[site].lower()}
    folders = [path for path in subfolders(root) if path.name.lower() in names]
    if len(folders) != 1:
        called = " or ".join(dict.fromkeys((site, _ALIASES[site])))
        what = f"no folder {called}; one is required" if not folders else f"{len(folders)} folders are site {site}"
        file = folders[1] if folders else root
        return [], [Problem("missing site" if not folders else "doubled site", "error", file, what, "Unpack it again.")]
    folder = folders[0]
    images, labels, problems = _sides(folder)
    problems += [
        Problem("missing label map", "error", images[s], f"has no partner {s}_segmentation.nii.gz", "Unpack it again.")
        for s in sorted(images.keys() - labels.keys())
    ] + [
        Problem("missing image", "error", labels[s], f"has no partner {s}.nii.gz", "Unpack it again.")
        for s in sorted(labels.keys() - images.keys())
    ]
    both = sorted(images.keys() & labels.keys())
    problems += miscount(folder, len(both), _PUBLISHED[site])
    return [Item(name, site, f"{site}/{name}", images[name], labels[name]) for name in both], problems


def _sides(folder: Path) -> tuple[dict[str, Path], dict[str, Path], list[Problem]]:
    """Images and label maps by case, told apart by their names."""
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    found = listing(folder)
    problems = list(found.problems)
    for stem, paths in sorted(found.files.items()):
        case, side = _SEGMENTATION.sub("", stem), labels if _SEGMENTATION.search(stem) else images
        for path in paths:
            if side.setdefault(case, path) is not path:
                what = f"is a second file of what {side[case].name} is; one is required"
                problems.append(Problem("doubled file", "error", path, what, "Keep one of them."))
    return images, labels, problems


def _faults(item: Item, image: Picture, labels: Picture) -> list[Problem]:
    """What keeps a pair from being used."""
    shape, remedy = tuple(image.array.shape[1:]), "Take it from the published package."
    if image.array.ndim != 4 or image.array.shape[0] != 1:
        what = f"is {times(tuple(image.array.shape))} [channel, *space]; one channel and three axes are required"
        return [Problem("size", "error", item.image, what, remedy)]
    if shape != tuple(labels.array.shape):
        found = times(tuple(labels.array.shape))
        what = f"is {found} but its image {item.image} is {times(shape)}; both must share one grid"
        return [Problem("size", "error", item.labels, what, remedy)]
    if shape[0] >= min(shape[1:]):
        what = f"has {shape[0]} slices of {times(shape[1:])}; the file's third axis must be the one across slices"
        return [Problem("size", "error", item.image, what, "Permute its axes.")]
    wrong = [value for value in torch.unique(labels.array).tolist() if value not in (0, 1, 2)]
    if wrong:
        what = f"holds the label(s) {', '.join(map(str, wrong[:8]))}; 0, 1 and 2 are published"
        return [Problem("wrong label", "error", item.labels, what, remedy)]
    return []


def _in_plane(before: Picture, array: Tensor) -> Picture:
    """``array``, resampled over height and width of ``before``, with the geometry that keeps every place in mm."""
    old, new = before.array.shape[-2:], array.shape[-2:]
    factors = [1.0, *(o / n for o, n in zip(old, new, strict=True))]
    spacing = before.spacing and tuple(s * f for s, f in zip(before.spacing, factors, strict=True))
    affine = before.affine
    if affine is not None:
        step = torch.diag(affine.new_tensor([*factors, 1.0]))
        step[:3, 3] = affine.new_tensor([0.5 * f - 0.5 for f in factors])  # pixel centres: align_corners is false
        affine = affine @ step
    return Picture(array, spacing, affine)


def _zipped(path: Path) -> bytes:
    """The file's bytes; a plain ``.nii`` is compressed, since prepared files all end in ``.nii.gz``."""
    data = read_bytes(path)
    return data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 6, mtime=0)


MEMBER = Prostate
