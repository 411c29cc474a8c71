"""Optic disc and cup of RIGA+: BinRushed, Magrabia and three MESSIDOR sites, usually trained on one of them.

What is downloaded is ``RIGA``, ``RIGA-mask`` and tables of pairs; ``unshift data prepare riga_plus`` makes pairs of it.
Each photograph was drawn on by six readers; prepared is reader 1, as in the field's comparisons (CCSDG, TriD). In a
mask 255 is the rim, 128 the cup, 0 the background. The owners' train and test tables are the cases' splits.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from unshift.contracts import Card
from unshift.datasets import disc_and_cup
from unshift.datasets.disc_and_cup import GreyCode
from unshift.datasets.paired import CardConfig
from unshift.datasets.prepared import PREPARED_TREE, PreparedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, miscount, package_root, twice

READER = 1
PACKAGE = """\
  <download>/<site>_train.csv, <site>_test.csv        image,mask: paths from the download's folder
  <download>/RIGA/<site>/<collection>/<case>.tif      sites: BinRushed, Magrabia, MESSIDOR_Base1 … 3
  <download>/RIGA-mask/<site>/<collection>/<case>-<reader>.tif    reader 1 … 6; 0 background, 255 rim, 128 cup"""
_SITES = ("BinRushed", "Magrabia", "MESSIDOR_Base1", "MESSIDOR_Base2", "MESSIDOR_Base3")
_ONCE = "Correct {domain}_train.csv and {domain}_test.csv, which list it twice: take one of the lines out."
CODE = GreyCode(exact={0: 0, 255: 1, 128: 2}, ranges=((0, 0, 0), (1, 127, 1), (128, 128, 2), (129, 255, 1)))


class RigaPlus(PreparedFolders):
    """Five sites, one domain each."""

    Config = CardConfig
    rules = disc_and_cup.RULES
    published = _SITES
    marks = ("RIGA", "RIGA-mask")
    counted = "listed"
    card = Card(
        title="RIGA+ disc and cup",
        source="zenodo.org/record/6325549, RIGAPlus.zip (SHA-256 as others recorded it: "
        "f9fa96df2faa70852ccd4c73d0e79ed6eb258b5a37e72292f5efa3f81f195d20). Nothing is downloaded here.",
        licence="See the record at Zenodo; not known here.",
        patients="No ids: each image is taken for a patient.",
        layout=f"The download:\n{PACKAGE}\nPrepared:\n{PREPARED_TREE}",
        defects="Six readers disagree; reader 1 is used, and scores carry that reader's habits. How many cases each "
        "table should list is not recorded here: what the tables list is required. Unlabeled photographs stay behind.",
        citation="S. Hu, Z. Liao, Y. Xia. Domain specific convolution and high frequency reconstruction based "
        "unsupervised domain adaptation for medical image segmentation. MICCAI (2022). A. Almazroa et al. Retinal "
        "fundus images for glaucoma analysis: the RIGA dataset. SPIE Medical Imaging (2018).",
    )

    @classmethod
    def survey(cls, source: Path) -> Survey:
        """Pairs as the tables list them."""
        root = package_root(source, ("RIGA", *(f"{site}_train.csv" for site in _SITES)), tree=PACKAGE)
        items: list[Item] = []
        counts: list[Count] = []
        problems: list[Problem] = []
        for site in _SITES:
            for split in ("train", "test"):
                rows, wrong = _rows(root / f"{site}_{split}.csv")
                found, missing = _items(root, site, split, rows)
                items += found
                counts.append(Count(site, split, len(rows) or None, len(found)))
                problems += [*wrong, *missing]
                if not wrong:
                    problems += miscount(root / f"{site}_{split}.csv", len(found), None)
        return Survey(root, tuple(items), tuple(counts), tuple(problems + twice(items, remedy=_ONCE)))

    @classmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """The photograph as it is; grey levels become labels."""
        return disc_and_cup.convert(item, folder, CODE)


def _rows(path: Path) -> tuple[list[tuple[str, str]], list[Problem]]:
    """(image, mask) of each line that names both; the other lines as problems."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream, strict=True)
            absent = {"image", "mask"} - set(table.fieldnames or ())
            rows = [] if absent else [(table.line_num, (_cell(row, "image"), _cell(row, "mask"))) for row in table]
    except FileNotFoundError:
        what = "no such file; it says which cases are meant"
        return [], [Problem("missing table", "error", path, what, "Unpack the download again.")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = f"cannot be read as a table ({error}); one with the columns image and mask is required"
        return [], [Problem("unusable table", "error", path, what, "Unpack the download again.")]
    if absent:
        what = f"its first line is {','.join(table.fieldnames or ())!r}; the columns image and mask are required"
        return [], [Problem("unusable table", "error", path, what, "Unpack the download again.")]
    wrong = [_strange(path, number, row) for number, row in rows if not _is_place(*row)]
    return [row for _, row in rows if _is_place(*row)], wrong


def _cell(row: Mapping[str, str | None], column: str) -> str:
    return (row[column] or "").strip()


def _is_place(image: str, mask: str) -> bool:
    """Whether both are files inside the download, the image below ``RIGA/<site>/``, from where its name begins."""
    paths = PurePosixPath(image), PurePosixPath(mask)
    inside = not any(path.is_absolute() or ".." in path.parts for path in paths)
    return inside and len(paths[0].parts) > 2 and bool(paths[1].name)


def _strange(path: Path, number: int, row: tuple[str, str]) -> Problem:
    what = f"line {number} is {','.join(row)!r}; RIGA/<site>/…/<case>,RIGA-mask/…/<case> is required"
    return Problem("unusable line", "error", path, what, "Unpack the download again.")


def _items(root: Path, site: str, split: str, rows: list[tuple[str, str]]) -> tuple[list[Item], list[Problem]]:
    items, problems = [], []
    for image, mask in rows:
        place = PurePosixPath(mask)
        paths = root / image, root / place.with_name(f"{place.stem}-{READER}{place.suffix}")
        absent = [path for path in paths if not path.is_file()]
        what = f"no such file; {site}_{split}.csv lists it (a mask without its reader's number, here {READER})"
        problems += [Problem("missing file", "error", path, what, "Unpack the download again.") for path in absent]
        if not absent:
            name = "_".join(PurePosixPath(image).with_suffix("").parts[2:])
            items.append(Item(name, site, f"{site}/{name}", *paths, split=split))
    return items, problems


MEMBER = RigaPlus
