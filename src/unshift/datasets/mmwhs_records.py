"""The heart data that PnP-AdaNet and SIFA released: slices as TFRecords for training, volumes for testing.

A record holds three neighbouring coronal slices of 256×256, already cropped around the heart, cut at the 98th
percentile, standardized and augmented, with their label maps; the middle slice is what is trained on, as in SIFA's
code. Which case a slice is of its name does not say. Neither records nor volumes keep a place in mm: the volumes were
resized, and published distances are in voxels.

The leak: 600 slices of each of 16 MR cases train and of 4 validate (9600 and 2400), which are all 20 cases there are;
so the four MR test volumes are among them, and no name says where (SIFA's issues 16 and 55).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unshift.contracts import Picture
from unshift.datasets.leaks import LEAK, REMEDY
from unshift.datasets.listing import entries, listing
from unshift.datasets.places import places
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, miscount, twice
from unshift.datasets.volumes import Labels, by_value, faults, unusable, written
from unshift.errors import DataError
from unshift.formats import reading
from unshift.formats.example import Values, read_example
from unshift.formats.tfrecord import read_records

PACKAGE = """\
  <download>/…/{ct,mr}_train_tfs/<name>.tfrecords     one slice each; also named training_ct, training_mr
  <download>/…/{ct,mr}_val_tfs/<name>.tfrecords       also named validation_ct, validation_mr
  <download>/…/test_ct…/image_ct_<id>.nii.gz, gth_ct_<id>.nii.gz      1003, 1008, 1014, 1019
  <download>/…/test_mr…/image_mr_<id>.nii.gz, gth_mr_<id>.nii.gz      1007, 1009, 1018, 1019"""
_FOLDERS = {
    f"{modality}_{short}_tfs": (modality.upper(), split)
    for modality in ("ct", "mr")
    for short, split in (("train", "train"), ("val", "validation"))
} | {
    f"{long}_{modality}": (modality.upper(), split)
    for modality in ("ct", "mr")
    for long, split in (("training", "train"), ("validation", "validation"))
}
_NAMES = {"train": "{}_train_tfs", "validation": "{}_val_tfs", "test": "test_{}…"}
_PUBLISHED = {("CT", "train"): 8400, ("CT", "validation"): 1200, ("MR", "train"): 9600, ("MR", "validation"): 2400}
_TESTS = re.compile(r"test_(ct|mr)", re.IGNORECASE)
_VOLUME = re.compile(r"(image|gth)_(ct|mr)_(\d+)")
_CASE = re.compile(r"(?:^|_)(?:ct|mr)_(?:train_|val_)?(\d{4})(?:_|$)")
_DEPTH = 3
SIDE = 256
LABELS: Labels = by_value({0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 0})
"""As in SIFA: 1 myocardium, 2 left atrium, 3 left ventricle, 4 aorta. Records also hold a 5 that no class is known of;
the published code trains it as none of the five classes, here it is background."""
_SUFFIX = ".tfrecords"


def is_records(folder: Path) -> bool:
    """Whether ``folder`` is one of the released folders of records."""
    return folder.name.lower() in _FOLDERS


def owns(item: Item) -> bool:
    """Whether a case is of this release: a record, which holds image and labels at once, or a test volume."""
    return item.image == item.labels or item.image.name.startswith("image_")


def survey(source: Path) -> Survey:
    """All records and test volumes, each folder wherever it lies below ``source``."""
    items: list[Item] = []
    counts: list[Count] = []
    problems: list[Problem] = []
    found: dict[tuple[str, str], list[Path]] = {}
    for folder in places(source, lambda path: is_records(path) or bool(_TESTS.match(path.name)), depth=_DEPTH):
        test = _TESTS.match(folder.name)
        part = (test[1].upper(), "test") if test else _FOLDERS[folder.name.lower()]
        found.setdefault(part, []).append(folder)
    for domain in ("CT", "MR"):
        for split in ("train", "validation", "test"):
            folders = found.get((domain, split), [])
            published = _PUBLISHED.get((domain, split), 4)
            cases, wrong = _part(source, folders, domain, split, published)
            items += cases
            counts.append(Count(domain, split, published, len(cases)))
            problems += wrong
    return Survey(source, tuple(items), tuple(counts), tuple(problems + twice(items)))


def _part(
    source: Path, folders: Sequence[Path], domain: str, split: str, published: int
) -> tuple[list[Item], list[Problem]]:
    if len(folders) != 1:
        what = (
            f"{len(folders)} folders of {domain} for {split} ({_NAMES[split].format(domain.lower())}); one is required"
        )
        kind = "doubled folder" if folders else "missing folder"
        return [], [Problem(kind, "error", [source, *folders][-1], what, "Unpack the download again.")]
    part, problems = (_volumes if split == "test" else _slices)(folders[0], domain, split)
    return part, [*problems, *miscount(folders[0], len(part), published)]


def _slices(folder: Path, domain: str, split: str) -> tuple[list[Item], list[Problem]]:
    items, problems = [], []
    for path in entries(folder):
        if not path.name.lower().endswith(_SUFFIX):
            what = f"does not end in {_SUFFIX}, so it is left out"
            problems.append(Problem("stray file", "warning", path, what, "Move it elsewhere."))
            continue
        name = path.name[: -len(_SUFFIX)]
        case = _CASE.search(name)
        patient = f"{domain}/{case[1]}" if case else f"{domain}/{name}"
        items.append(Item(f"{split}_{name}", domain, patient, path, path, split))
    return items, problems


def _volumes(folder: Path, domain: str, split: str) -> tuple[list[Item], list[Problem]]:
    found = listing(folder)
    problems = list(found.problems)
    sides: dict[str, dict[str, Path]] = {"image": {}, "gth": {}}
    for stem, paths in found.files.items():
        match = _VOLUME.fullmatch(stem)
        if match and match[2].upper() == domain:
            sides[match[1]][match[3]] = paths[0]
    image, labels = sides["image"], sides["gth"]
    for case in sorted(image.keys() ^ labels.keys()):
        has, lacks = ("image", "gth") if case in image else ("gth", "image")
        what = f"has no partner {lacks}_{domain.lower()}_{case}.nii.gz, which is required"
        problems.append(Problem(f"missing {lacks}", "error", sides[has][case], what, "Unpack it again."))
    both = sorted(image.keys() & labels.keys())
    return [Item(f"test_{c}", domain, f"{domain}/{c}", image[c], labels[c], split) for c in both], problems


def known_leak(items: Sequence[Item]) -> dict[str, list[Problem]]:
    """By domain, an error where MR slices of unknown cases stand beside MR test volumes."""
    mr = [item for item in items if item.domain == "MR"]
    nameless = [item for item in mr if item.split != "test" and not _CASE.search(item.image.name)]
    tested = [item for item in mr if item.split == "test"]
    if not nameless or not tested:
        return {}
    what = (
        f"{len(nameless)} slices do not say which case they are of, and {len(tested)} cases are tested; the published "
        "slices are of all 20 MR cases, the tested ones among them (SIFA's issues 16 and 55)"
    )
    remedy = "Prepare MM-WHS from its NIfTI release, which has no leak. " + REMEDY
    return {"MR": [Problem(LEAK, "error", nameless[0].image.parent, what, remedy)]}


def convert(item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
    """A record's middle slice as a volume of one slice; a test volume turned as the slices are."""
    try:
        image, stored = _slice(item.image) if item.image == item.labels else _volume(item)
    except DataError as error:
        return [], [unusable(error, item)]
    labels = LABELS(stored)
    problems = faults(item, image, stored, labels, "0 … 5")
    if not problems and image.array.shape[2:] != (SIDE, SIDE):
        what = f"slices are {'×'.join(map(str, image.array.shape[2:]))}; {SIDE}×{SIDE} is published"
        problems = [Problem("size", "error", item.image, what, "Take it from the published package.")]
    if problems:
        return [], problems
    return written(item, folder, image, Picture(labels)), []


def _volume(item: Item) -> tuple[Picture, Tensor]:
    """In the orientation of the records: SIFA's evaluation cuts along the last stored axis and flips the other two."""
    image, labels = reading.read_image(item.image), reading.read_label_map(item.labels)
    return Picture(_as_records(image.array)), _as_records(labels.array)


def _as_records(array: Tensor) -> Tensor:
    """[*lead, third, second, first stored axis] -> [*lead, third, first, second], both flipped."""
    if array.ndim < 3:
        return array
    return array.transpose(-1, -2).flip(-1, -2).contiguous()


def _slice(path: Path) -> tuple[Picture, Tensor]:
    records = read_records(path)
    if len(records) != 1:
        raise DataError(f"{path}: holds {len(records)} records; one slice a file is published. Unpack it again.")
    features = read_example(records[0], path)
    image, labels = (_middle(features, kind, path) for kind in "dl")
    if not np.isfinite(image).all() or not (labels == np.rint(labels)).all():
        raise DataError(
            f"{path}: holds values that are not finite, or labels that are no whole numbers. Copy it again."
        )
    return Picture(torch.from_numpy(image)[None, None]), torch.from_numpy(labels).long()[None]


def _middle(features: dict[str, Values], kind: str, path: Path) -> np.ndarray:
    """The middle one of an array's slices [height, width, slice], float32."""
    name = {"d": "data_vol", "l": "label_vol"}[kind]
    wanted = [f"{kind}size_dim{axis}" for axis in range(3)] + [name]
    missing = [key for key in wanted if len(features.get(key, ())) != 1]
    if missing:
        found = ", ".join(sorted(features)) or "nothing"
        raise DataError(f"{path}: has no {', '.join(missing)}; found are {found}. Take it from the published package.")
    *shape, content = (features[key][0] for key in wanted)
    sizes = tuple(size if isinstance(size, int) else 0 for size in shape)
    data = content if isinstance(content, bytes) else b""
    if min(sizes) < 1 or len(data) != 4 * int(np.prod(sizes)) or sizes[2] % 2 == 0:
        raise DataError(
            f"{path}: {name} is said to be {'×'.join(map(str, sizes))} and holds {len(data)} bytes; float32 of that "
            "size with an odd number of slices is required. Take it from the published package."
        )
    return np.frombuffer(data, dtype="<f4").reshape(sizes)[..., sizes[2] // 2].copy()
