"""A dataset by its name, or by a path whose layout is recognized; every guess is said in a line of the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unshift import config, discover
from unshift.contracts import Dataset, Picture
from unshift.datasets.listing import is_folder, listing, subfolders
from unshift.datasets.paired import TREE
from unshift.datasets.prepared import PreparedFolders
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.formats import reading

log = logging.getLogger(__name__)

_PEEKED = 6
"""Files per domain that are opened to guess."""
_MOST_LABELS = 64


def open_dataset(
    name_or_path: str | Path, root: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Dataset:
    """The dataset called ``name_or_path``, or the one that stands at that path.

    A path is recognized in this order: ``dataset.json`` makes it ``nnunet``; a published dataset's domains, all of them
    and no other, make it that card; folders ``<domain>/images`` make it ``folder``; ``images`` right in it makes it the
    only domain of a ``folder``. For ``folder``, what ``settings`` does not say about classes, values, channels and axes
    is guessed from a few files.

    Args:
        name_or_path: a member of the family ``datasets``, or a folder.
        root: the dataset's folder when a name is given.
        settings: the member's settings, as YAML gives them.

    Raises:
        UnknownName: neither a member nor a path.
        DataError: the folder is missing or bears no known layout.
        ConfigError: wrong settings, or a root beside a path.
    """
    settings = dict(settings or {})
    is_there = isinstance(name_or_path, Path) and name_or_path.is_dir()  # a folder may be called as a member is
    if str(name_or_path) in discover.names("datasets") and not is_there:
        return _build(str(name_or_path), root, settings)
    path = Path(name_or_path)
    if not path.exists() and len(path.parts) == 1 and not str(name_or_path).startswith((".", "~")):
        raise UnknownName("dataset", str(name_or_path), discover.names("datasets"), where="not a folder either")
    if root is not None:
        raise ConfigError(
            f"{path}: is a path, and the root {root} was given too; one is required. Leave one of them out."
        )
    if is_one_domain(path):
        name, found = "folder", guess(path.resolve().parent, only=path.resolve().name)
        path, found = path.resolve().parent, {"domains": [path.resolve().name], **found}
    else:
        name, found = recognize(path)
    log.info("%s: read as %s%s", path, name, f" with {found}" if found else "")
    if {"classes", "values"} & settings.keys():
        found = {key: value for key, value in found.items() if key not in ("classes", "values")}
    return _build(name, path, {**found, **settings})


def is_one_domain(path: Path) -> bool:
    """Whether ``path`` holds ``images`` itself, and no ``dataset.json`` or folder of a domain."""
    inside = is_folder(path) and is_folder(path / "images") and not (path / "dataset.json").is_file()
    return inside and not any(is_folder(folder / "images") for folder in subfolders(path))


def recognize(path: Path) -> tuple[str, dict[str, Any]]:
    """The member that reads ``path``, and the settings under which it does.

    Raises:
        DataError: no such folder, or no known layout.
    """
    if not is_folder(path):
        found = "is a file" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {found}; a dataset's folder is required. Check the path.")
    if (path / "dataset.json").is_file():
        return "nnunet", {}
    if not any(is_folder(folder / "images") for folder in subfolders(path)):
        shown = ", ".join(folder.name for folder in subfolders(path)[:8]) or "no folder"
        for member in preparable().values():
            if member.is_download(path):
                raise member.unprepared(path)
        raise DataError(
            f"{path}: holds {shown}; neither dataset.json nor a <domain>/images was found, one of which is required. "
            f"Give the dataset's own folder.\nExpected layout:\n{TREE}"
        )
    for name in discover.names("datasets"):
        settings_of = getattr(discover.load("datasets", name), "settings_of", None)
        settings = settings_of(path) if settings_of else None
        if settings is not None:
            return name, settings
    return "folder", guess(path)


def guess(root: Path, *, only: str = "") -> dict[str, Any]:
    """Settings of ``folder`` for ``root``, from a few images and masks of each domain.

    Axes are those of the first image; channels are 3 as soon as one image is in colour. Values that stand in at least a
    quarter of the masks looked at are taken for labels, in their order, so that a mask with a stray value is found by
    the check instead of being made a class. Files that cannot be read are passed over: the check reports them.

    Args:
        root: holds the domains' folders.
        only: of one domain; default: of all.
    """
    images = [p for p in (_image(path) for path in _some(root, "images", only)) if p is not None]
    masks = [p for p in (_mask(path) for path in _some(root, "masks", only)) if p is not None]
    settings: dict[str, Any] = {}
    if images:
        settings["spatial_dims"] = images[0].array.ndim - 1
        settings["channels"] = max(picture.array.shape[0] for picture in images)
    counts = Counter(value for mask in masks for value in torch.unique(mask.array).tolist())
    usual = sorted(value for value, count in counts.items() if value and 4 * count >= len(masks))
    if len(usual) > _MOST_LABELS:
        log.warning("%s: masks hold %d values, which are no labels; two classes are assumed", root, len(usual))
    elif usual not in ([], [1], [255], [1, 255]):
        settings["classes"] = ["background", *(f"label_{value}" for value in usual)]
        settings["values"] = {value: label for label, value in enumerate(usual, start=1)}
    log.info("%s: settings guessed from %d image(s) and %d mask(s): %s", root, len(images), len(masks), settings)
    return settings


def preparable() -> dict[str, type[PreparedFolders]]:
    """Members that are made of a download by `unshift data prepare`."""
    members = {name: discover.load("datasets", name) for name in discover.names("datasets")}
    return {name: member for name, member in members.items() if issubclass(member, PreparedFolders)}


def _build(name: str, root: Path | None, settings: Mapping[str, Any]) -> Dataset:
    member = discover.load("datasets", name)
    return member(config.parse(member.Config, dict(settings), where=f"dataset {name}"), root)


def _some(root: Path, part: str, only: str) -> list[Path]:
    """A few files of every domain, evenly spread over their sorted names."""
    chosen = []
    for domain in [root / only] if only else subfolders(root):
        if is_folder(domain / part):
            paths = [paths[0] for _, paths in sorted(listing(domain / part).files.items())]
            chosen += paths[:: max(1, len(paths) // _PEEKED)][:_PEEKED]
    return chosen


def _image(path: Path) -> Picture | None:
    try:
        return reading.read_image(path)
    except DataError as error:
        log.info("passed over while guessing: %s", error)
        return None


def _mask(path: Path) -> Picture | None:
    try:
        return reading.read_label_map(path)
    except DataError as error:
        log.info("passed over while guessing: %s", error)
        return None
