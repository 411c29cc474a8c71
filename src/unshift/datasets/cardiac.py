"""Four structures of the heart in CT and MR: MM-WHS, from its NIfTI release or as PnP-AdaNet and SIFA packed it.

``unshift data prepare cardiac`` reads either. From NIfTI: whole volumes with spacing and place kept, axes turned so
that slices are coronal, seven structures reduced to the four of the cross-modality benchmark. From the packed slices
(see :mod:`unshift.datasets.mmwhs_records`): what was published, with its leak, which is refused unless it is asked for;
where both lie below one folder, NIfTI is read and the packed slices are warned of.
The published test cases are the cases' split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from unshift.contracts import Card
from unshift.datasets import mmwhs_records, volumes
from unshift.datasets.listing import is_folder, listing
from unshift.datasets.paired import CardConfig, PairedRules
from unshift.datasets.places import holds, places
from unshift.datasets.prepared import PREPARED_TREE, PreparedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, miscount, other_folder
from unshift.errors import DataError
from unshift.formats import reading

PACKAGE = """\
  <download>/{ct,mr}_train/{ct,mr}_train_<id>_image.nii.gz      id: 1001 … 1020
  <download>/{ct,mr}_train/{ct,mr}_train_<id>_label.nii.gz      205, 420, 500, 550, 600, 820, 850
or, as packed by PnP-AdaNet:
"""
_PUBLISHED = 20
TESTS = {"CT": (1003, 1008, 1014, 1019), "MR": (1007, 1009, 1018, 1019)}
_VALUES = {0: 0, 205: 1, 420: 2, 421: 2, 500: 3, 820: 4, 550: 0, 600: 0, 850: 0}
"""421 is a slip in one of the MR label maps."""
_KNOWN = "0, 205, 420 (421), 500, 550, 600, 820 and 850"
_FILE = re.compile(r"(ct|mr)_train_(\d+)_(image|label)", re.IGNORECASE)
_DEPTH = 3


class Cardiac(PreparedFolders):
    """Two modalities, one domain each; their patients are different ones."""

    Config = CardConfig
    rules = PairedRules(
        classes=("background", "myocardium", "left_atrium", "left_ventricle", "ascending_aorta"),
        channels=1,
        spatial_dims=3,
    )
    published = ("CT", "MR")
    marks = ()
    card = Card(
        title="Heart in CT and MR (MM-WHS)",
        source="Multi-Modality Whole Heart Segmentation challenge 2017, 20 CT and 20 MR volumes of different patients; "
        "or the slices that PnP-AdaNet released of them, linked from github.com/carrenD/"
        "Medical-Cross-Modality-Domain-Adaptation and github.com/cchen-cc/SIFA. Nothing is downloaded here.",
        licence="The challenge's own terms, after registration; PnP-AdaNet says that they hold for its copies too. "
        "Read them before use.",
        patients="NIfTI: the id in the file name, one volume each. Packed slices: not known, each slice is its own.",
        layout=f"The download:\n{PACKAGE}{mmwhs_records.PACKAGE}\nPrepared:\n{PREPARED_TREE}",
        defects="Published figures rest on volumes cropped around the heart, whose place the labels told; volumes here "
        "are whole. Which two CT cases validated is not published: here any of the 16 may. In the packed slices the MR "
        "test cases are also trained and validated on; the slices' label 5 is of no published class and is read as "
        "background; spacing is lost, so distances are in voxels.",
        citation="X. Zhuang, J. Shen. Multi-scale patch and multi-modality atlases for whole heart segmentation of "
        "MRI. Med Image Anal 31 (2016). X. Zhuang et al. Evaluation of algorithms for multi-modality whole heart "
        "segmentation. Med Image Anal 58 (2019). Q. Dou et al. PnP-AdaNet. IEEE Access 7 (2019).",
    )

    @classmethod
    def is_download(cls, root: Path) -> bool:
        """Known by its folders of NIfTI files or of packed slices."""
        return holds(root, _is_part, depth=_DEPTH) and not any(
            is_folder(root / domain / "images") for domain in cls.published
        )

    @classmethod
    def survey(cls, source: Path) -> Survey:
        """NIfTI pairs by name, or packed slices where there is no folder of them."""
        if not is_folder(source):
            raise DataError(
                f"{source}: no such folder; the unpacked download is required.\nExpected:\n{cls.card.layout}"
            )
        found = places(source, _is_part, depth=_DEPTH)
        if not found:
            raise other_folder(source, tree=PACKAGE + mmwhs_records.PACKAGE)
        pairs = [folder for folder in found if _is_nifti(folder)]
        if not pairs:
            return mmwhs_records.survey(source)
        items: list[Item] = []
        counts: list[Count] = []
        problems = [_left_out(folder, pairs) for folder in found if folder not in pairs]
        for domain in cls.published:
            part, wrong = _modality(source, pairs, domain)
            items += part
            problems += wrong
            tests = len(TESTS[domain])
            for split, published in (("train", _PUBLISHED - tests), ("test", tests)):
                counts.append(Count(domain, split, published, sum(item.split == split for item in part)))
        return Survey(source, tuple(items), tuple(counts), tuple(problems))

    @classmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """Labels reduced to four structures, axes turned to coronal slices; nothing is resampled."""
        if mmwhs_records.owns(item):
            return mmwhs_records.convert(item, folder)
        try:
            image, stored = reading.read_image(item.image), reading.read_label_map(item.labels).array
        except DataError as error:
            return [], [volumes.unusable(error, item)]
        labels = volumes.by_value(_VALUES)(stored)
        problems = volumes.faults(item, image, stored, labels, _KNOWN)
        if problems:
            return [], problems
        pair = volumes.turned(item, image, labels, "coronal")
        return ([], [pair]) if isinstance(pair, Problem) else (volumes.written(item, folder, *pair), [])

    @classmethod
    def contents(cls, files: Sequence[Path]) -> list[str]:
        """Digests of the slices that show a structure."""
        return volumes.contents(*files)

    @classmethod
    def leaks(cls, items: Sequence[Item], contents: Mapping[str, Sequence[str]]) -> dict[str, list[Problem]]:
        """By patient, by content, and the one that is known of the packed MR slices."""
        found = super().leaks(items, contents)
        for domain, problems in mmwhs_records.known_leak([i for i in items if mmwhs_records.owns(i)]).items():
            found.setdefault(domain, []).extend(problems)
        return found


def _is_part(folder: Path) -> bool:
    return _is_nifti(folder) or mmwhs_records.is_records(folder)


def _is_nifti(folder: Path) -> bool:
    return folder.name.lower() in ("ct_train", "mr_train")


def _left_out(records: Path, taken: Sequence[Path]) -> Problem:
    what = f"packed slices beside the NIfTI release in {taken[0]}, which is read instead, so they are left out"
    remedy = "Nothing need be done; to prepare the packed slices, keep them in a folder without the NIfTI release."
    return Problem("extra folder", "warning", records, what, remedy)


def _modality(source: Path, found: Sequence[Path], domain: str) -> tuple[list[Item], list[Problem]]:
    folders = [folder for folder in found if folder.name.lower() == f"{domain.lower()}_train"]
    if len(folders) != 1:
        what = f"{'several folders' if folders else 'no folder'} {domain.lower()}_train; one is required"
        kind = "doubled folder" if folders else "missing folder"
        return [], [Problem(kind, "error", [source, *folders][-1], what, "Unpack the download again.")]
    listed = listing(folders[0])
    problems = list(listed.problems)
    sides: dict[str, dict[int, Path]] = {"image": {}, "label": {}}
    for stem, paths in sorted(listed.files.items()):
        match = _FILE.fullmatch(stem)
        if match is None or match[1].upper() != domain or len(paths) > 1:
            what = "is no published name of this folder" if len(paths) == 1 else "stands there twice; one is required"
            severity, kind = ("warning", "stray file") if len(paths) == 1 else ("error", "doubled file")
            problems.append(Problem(kind, severity, paths[0], what, "Move it elsewhere."))  # type: ignore[arg-type]
        else:
            sides[match[3].lower()][int(match[2])] = paths[0]
    images, labels = sides["image"], sides["label"]
    for case in sorted(images.keys() ^ labels.keys()):
        has, lacks = ("image", "label") if case in images else ("label", "image")
        what = f"has no partner {domain.lower()}_train_{case}_{lacks}.nii.gz, which is required"
        problems.append(Problem(f"missing {lacks}", "error", sides[has][case], what, "Unpack it again."))
    both = sorted(images.keys() & labels.keys())
    problems += [*miscount(folders[0], len(both), _PUBLISHED), *_absent_tests(folders[0], both, domain)]
    return [
        Item(str(c), domain, f"{domain}/{c}", images[c], labels[c], "test" if c in TESTS[domain] else "train")
        for c in both
    ], problems


def _absent_tests(folder: Path, cases: Sequence[int], domain: str) -> list[Problem]:
    absent = [str(case) for case in TESTS[domain] if case not in cases]
    if not absent:
        return []
    what = f"lacks the test case(s) {', '.join(absent)}, so scores compare with no published table"
    return [Problem("missing test case", "warning", folder, what, "Unpack it again.")]


MEMBER = Cardiac
