"""Optic disc and cup in regions of interest of four domains: the DoFE package, as RAM-DSIR uses it.

What is downloaded is ``DomainN/{train,test}/ROIs/{image,mask}``, with 0 for the cup, 128 for the rim and 255 for the
background; ``unshift data prepare fundus`` makes pairs of it. The owners' train and test lists are the cases' splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unshift.contracts import Card
from unshift.datasets import disc_and_cup
from unshift.datasets.disc_and_cup import GreyCode
from unshift.datasets.listing import is_folder
from unshift.datasets.paired import CardConfig
from unshift.datasets.prepared import PREPARED_TREE, PreparedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, extra, miscount, names_digest, package_root, pair, twice
from unshift.errors import DataError
from unshift.formats.files import read_bytes

PACKAGE = """\
  <download>/DomainN/train/ROIs/image/<case>.png      N = 1 … 4; about 800×800 pixels around the disc
  <download>/DomainN/train/ROIs/mask/<case>.png       0 cup, 128 rim, 255 background
  <download>/DomainN/test/ROIs/{image,mask}/<case>.png
  <download>/DomainN_{train,test}.list                optional, also as DomainN/{train,test}.list"""


@dataclass(frozen=True)
class Part:
    """A published list: number of cases, and SHA-256 of their sorted names, one a line."""

    cases: int
    digest: str


_PUBLISHED = {
    ("Domain1", "train"): Part(50, "764620e4697a902d831ff2b6ad44d9a766d0425b6bb900bd1644913bb1ba60b0"),
    ("Domain1", "test"): Part(51, "7f1055dddd0b5b048d4ce3176d3c45d46ee6079a0569086c2cc1c283f971b916"),
    ("Domain2", "train"): Part(99, "cc5b607b85ff29de80dc0b3d3fa9168ee3c3d66bdcc4e72b601198c842541949"),
    ("Domain2", "test"): Part(60, "98cfe6667888385b15a339321ded9eb8e4f4fceb165e89127087f41ddf720c13"),
    ("Domain3", "train"): Part(320, "d16d1e5d5ba5ccc5397cfbdd65b213971695c1ef710fc7715f7e52b24ba5fe49"),
    ("Domain3", "test"): Part(80, "eb55c24ec9393608d45142c08901532e0d0335008962a8cfd662913ce8e8330a"),
    ("Domain4", "train"): Part(320, "5969be7cf3a09bc0bde3850ac7d05a5193e8ca952f19fed6e7a2fc4c4a5bcb7b"),
    ("Domain4", "test"): Part(80, "9017b3c7d2ec3a0f1f0768752d1aa94ea4d2ccc0d32b10fda4e4b1880df1bed2"),
}
_SITES = {"Domain1": "Drishti-GS", "Domain2": "RIM-ONE-r3", "Domain3": "REFUGE-train", "Domain4": "REFUGE-validation"}
CODE = GreyCode(exact={0: 2, 128: 1, 255: 0}, ranges=((0, 50, 2), (51, 200, 1), (201, 255, 0)))


class Fundus(PreparedFolders):
    """Four published collections, one domain each."""

    Config = CardConfig
    rules = disc_and_cup.RULES
    published = tuple(_SITES.values())
    marks = tuple(f"{name}/train" for name in _SITES)
    card = Card(
        title="Fundus disc and cup of four domains",
        source="Regions of interest of Drishti-GS, RIM-ONE-r3, REFUGE train and REFUGE validation, as packed for DoFE; "
        "the link to the package stands in the file README of github.com/emma-sjwang/Dofe. Nothing is downloaded here.",
        licence="DoFE's repository names none; each collection has its owners' terms. Read them before use.",
        patients="No ids: each image is taken for a patient. In RIM-ONE-r3 no published name gives a second eye.",
        layout=f"The download:\n{PACKAGE}\nPrepared:\n{PREPARED_TREE}",
        defects="Crops were made around the known disc, which a new hospital's photographs are not. The raw folders "
        "beside ROIs are not meant: Domain 3 and 4 are uncropped there, Domain 2 has stereo pairs. Checksums are known "
        "of the lists of names (from RAM-DSIR's repository), not of the images.",
        citation="S. Wang et al. DoFE: Domain-oriented feature embedding for generalizable fundus image segmentation "
        "on unseen datasets. IEEE Trans Med Imaging (2020). J. Sivaswamy et al. Drishti-GS. ISBI (2014). F. Fumero "
        "et al. RIM-ONE: an open retinal image database. CBMS (2011). J. I. Orlando et al. REFUGE challenge. Med Image "
        "Anal 59 (2020).",
    )

    @classmethod
    def survey(cls, source: Path) -> Survey:
        """Pairs below ``ROIs`` of every domain and split; lists, where there are any, decide which are meant."""
        root = package_root(source, _SITES, tree=PACKAGE)
        items: list[Item] = []
        counts: list[Count] = []
        problems = extra(root, _SITES, what="is no part of the published package, so it is left out")
        for (name, split), part in _PUBLISHED.items():
            found, wrong = _part(root, name, split, part)
            items += found
            counts.append(Count(_SITES[name], split, part.cases, len(found)))
            problems += wrong
        return Survey(root, tuple(items), tuple(counts), tuple(problems + twice(items)))

    @classmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """The photograph as it is; grey levels become labels."""
        return disc_and_cup.convert(item, folder, CODE)


def _part(root: Path, name: str, split: str, part: Part) -> tuple[list[Item], list[Problem]]:
    folder = root / name / split / "ROIs"
    if not is_folder(folder):
        raw = " (the raw photographs beside it are not cropped and are not what is published)"
        what = f"no such folder; {part.cases} regions of interest are published there"
        beside = any(is_folder(folder.parent / other) for other in ("image", "mask"))
        problem = Problem("missing folder", "error", folder, what + raw * beside, "Unpack the download again.")
        return [], [problem]
    found, problems = pair(folder / "image", folder / "mask")
    listed, wrong = _listed(root, name, split)
    problems += wrong
    if listed is not None:
        problems += _unlisted(folder, set(found), listed)
        found = {stem: files for stem, files in found.items() if stem in listed}
    problems += miscount(folder, len(found), part.cases)
    if len(found) == part.cases and names_digest(found) != part.digest:
        what = "the number of cases is the published one, but the names are not (their checksum differs)"
        problems.append(Problem("other names", "warning", folder, what, "Compare them with the published list."))
    domain = _SITES[name]
    return [Item(s, domain, f"{domain}/{s}", image, mask, split) for s, (image, mask) in found.items()], problems


def _listed(root: Path, name: str, split: str) -> tuple[set[str] | None, list[Problem]]:
    """Stems of the owners' list, or None where there is none. A line is ``image mask`` with paths from the root."""
    for path in (root / f"{name}_{split}.list", root / name / f"{split}.list"):
        if path.is_file():
            try:
                lines = read_bytes(path).decode("utf-8").split("\n")
            except (DataError, UnicodeDecodeError) as error:
                what = f"cannot be read ({error})"
                return None, [Problem("unusable list", "error", path, what, "Copy it again, or remove it.")]
            return {Path(line.split()[0]).stem for line in lines if line.strip()}, []
    return None, []


def _unlisted(folder: Path, found: set[str], listed: set[str]) -> list[Problem]:
    missing = [
        Problem(
            "missing case",
            "error",
            folder / "image" / f"{stem}.png",
            "is listed and has no complete pair here",
            "Unpack the download again.",
        )
        for stem in sorted(listed - found)
    ]
    surplus = [
        Problem(
            "unlisted case",
            "warning",
            folder / "image" / f"{stem}.*",
            "is not listed, so it is left out",
            "Nothing need be done.",
        )
        for stem in sorted(found - listed)
    ]
    return missing + surplus


MEMBER = Fundus
