"""Liver, kidneys and spleen in CT and MR: BTCV (Synapse) and CHAOS T2-SPIR, of different patients.

``unshift data prepare abdominal`` reads both downloads below one folder: BTCV's NIfTI pairs, and CHAOS' DICOM series
with a PNG a slice, or NIfTI pairs that were made of them. Axes are turned so that slices are axial, labels reduced to
the four organs that both know; intensities stay as they are (HU, and the MR scanner's units) and nothing is resampled.
The published test cases are the cases' split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from unshift.contracts import Card
from unshift.datasets import chaos_series, volumes
from unshift.datasets.listing import is_folder, listing, subfolders
from unshift.datasets.paired import CardConfig, PairedRules
from unshift.datasets.places import holds, places
from unshift.datasets.prepared import PREPARED_TREE, PreparedFolders
from unshift.datasets.problem import Problem
from unshift.datasets.survey import Count, Item, Survey, miscount, other_folder
from unshift.errors import DataError
from unshift.formats import reading

PACKAGE = """\
  <download>/…/img/img<id>.nii.gz                    BTCV: RawData/Training; id 0001 … 0010, 0021 … 0040
  <download>/…/label/label<id>.nii.gz                0 … 13
  <download>/…/MR/<id>/T2SPIR/DICOM_anon/*.dcm       CHAOS: Train_Sets; 20 patients, 1 … 39
  <download>/…/MR/<id>/T2SPIR/Ground/*.png           0, 63, 126, 189, 252
or instead of the last two:
  <download>/…/T2SPIR/image_<id>.nii.gz, label_<id>.nii.gz       0 … 4, or the grey levels"""
CT, MR = "BTCV-CT", "CHAOS-MR"
IDS = {
    CT: (*range(1, 11), *range(21, 41)),
    MR: (1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39),
}
TESTS = {CT: (1, 9, 30, 32, 33, 39), MR: (1, 13, 32, 38)}
_ORGANS = {6: 1, 2: 2, 3: 3, 1: 4}
_CT = volumes.by_value({value: _ORGANS.get(value, 0) for value in range(14)})
_GREY = ((0, 0, 0), (55, 70, 1), (110, 135, 2), (175, 200, 3), (240, 255, 4))
"""As CHAOS states them: liver 63 (55 to 70), right kidney 126 (110 to 135), left kidney 189 (175 to 200), spleen 252
(240 to 255)."""
_MR = volumes.by_range(_GREY)
_MR_LABELS = volumes.by_value({label: label for label in range(5)})
_DEPTH = 4
_CLOSED = ("test_sets", "testing", "dicom_anon", "t1dual")
_CT_FILE, _MR_FILE = re.compile(r"(img|label)(\d+)"), re.compile(r"(image|label)_(\d+)")


class Abdominal(PreparedFolders):
    """Two modalities, one domain each."""

    Config = CardConfig
    rules = PairedRules(
        classes=("background", "liver", "right_kidney", "left_kidney", "spleen"), channels=1, spatial_dims=3
    )
    published = (CT, MR)
    marks = ()
    card = Card(
        title="Abdominal organs in CT and MR (BTCV, CHAOS T2-SPIR)",
        source="CT: Multi-Atlas Labeling Beyond the Cranial Vault, abdomen, training part (synapse.org syn3193805), 30 "
        "volumes. MR: CHAOS challenge, labeled T2-SPIR (chaos.grand-challenge.org), 20 volumes. Nothing is downloaded "
        "here.",
        licence="Not recorded here: each has its owners' terms, BTCV after registration. Read them before use.",
        patients="The id in the file's or folder's name, one volume each; the numbers of the two modalities have "
        "nothing to do with each other.",
        layout=f"The downloads, below one folder:\n{PACKAGE}\nPrepared:\n{PREPARED_TREE}",
        defects="Patients of BTCV have metastases or hernias, those of CHAOS are healthy, so that the two differ in "
        "more than the modality. Published figures rest on slices near the organs, chosen by their labels, resampled "
        "to 1 mm in plane: here all slices, as they are.",
        citation="B. Landman et al. Multi-Atlas Labeling Beyond the Cranial Vault (MICCAI 2015). A. E. Kavur et al. "
        "CHAOS challenge: combined (CT-MR) healthy abdominal organ segmentation. Med Image Anal 69 (2021).",
    )

    @classmethod
    def is_download(cls, root: Path) -> bool:
        """Known by BTCV's or CHAOS' folders."""
        return holds(root, _is_part, depth=_DEPTH, closed=_CLOSED) and not any(
            is_folder(root / domain / "images") for domain in cls.published
        )

    @classmethod
    def survey(cls, source: Path) -> Survey:
        """Pairs by id of both downloads."""
        if not is_folder(source):
            raise DataError(f"{source}: no such folder; both downloads below one are required.\nExpected:\n{PACKAGE}")
        if not (found := places(source, _is_part, depth=_DEPTH, closed=_CLOSED)):
            raise other_folder(source, tree=PACKAGE)
        items: list[Item] = []
        counts: list[Count] = []
        problems: list[Problem] = []
        series = [folder for folder in found if _is_chaos(folder)]
        stacks = [folder for folder in found if _is_mr_nifti(folder)]
        parts = {CT: [folder for folder in found if _is_btcv(folder)], MR: series or stacks}
        if series:
            what = "NIfTI files beside the series that they were made of, so they are left out"
            problems += [Problem("extra folder", "warning", path, what, "Nothing need be done.") for path in stacks]
        for domain, folders in parts.items():
            part, wrong = _one(source, folders, domain)
            items += part
            problems += wrong
            for split, tests in (("train", False), ("test", True)):
                published = sum((case in TESTS[domain]) == tests for case in IDS[domain])
                counts.append(Count(domain, split, published, sum(item.split == split for item in part)))
        return Survey(source, tuple(items), tuple(counts), tuple(problems))

    @classmethod
    def convert(cls, item: Item, folder: Path) -> tuple[list[Path], list[Problem]]:
        """Labels reduced to four organs, axes turned to axial slices; nothing is resampled."""
        problems: list[Problem] = []
        try:
            if item.image.is_dir():
                image, stored, problems = chaos_series.read_series(item.image, item.labels)
            else:
                image, stored = reading.read_image(item.image), reading.read_label_map(item.labels).array
        except DataError as error:
            return [], [volumes.unusable(error, item)]
        translate, known = _CT, "0 … 13"
        if item.domain == MR:
            is_grey = item.image.is_dir() or int(stored.max()) > 4
            translate, known = (_MR, "0, 63, 126, 189 and 252") if is_grey else (_MR_LABELS, "0 … 4")
        labels = translate(stored)
        wrong = volumes.faults(item, image, stored, labels, known)
        if wrong:
            return [], wrong
        pair = volumes.turned(item, image, labels, "axial")
        if isinstance(pair, Problem):
            return [], [pair]
        return volumes.written(item, folder, *pair), problems

    @classmethod
    def contents(cls, files: Sequence[Path]) -> list[str]:
        """Digests of the slices that show an organ."""
        return volumes.contents(*files)


def _is_btcv(folder: Path) -> bool:
    return folder.name.lower() == "img" and is_folder(folder.with_name("label"))


def _is_chaos(folder: Path) -> bool:
    return folder.name == "MR" and not is_folder(folder / "images")


def _is_mr_nifti(folder: Path) -> bool:
    return folder.name == "T2SPIR" and folder.parent.name != "MR" and not is_folder(folder / "DICOM_anon")


def _is_part(folder: Path) -> bool:
    return _is_btcv(folder) or _is_chaos(folder) or _is_mr_nifti(folder)


def _one(source: Path, folders: Sequence[Path], domain: str) -> tuple[list[Item], list[Problem]]:
    if len(folders) != 1:
        names = {CT: "img (with label beside it)", MR: "MR (with the patients' T2SPIR in it)"}[domain]
        what = f"{'several folders' if folders else 'no folder'} {names}; one is required"
        kind = "doubled folder" if folders else "missing folder"
        return [], [Problem(kind, "error", [source, *folders][-1], what, "Unpack both downloads below one folder.")]
    folder = folders[0]
    if domain == CT:
        images, problems = _by_id(folder, _CT_FILE, "img")
        labels, more = _by_id(folder.with_name("label"), _CT_FILE, "label")
        problems += more
        pairs = _pairs(images["img"], labels["label"], problems)
    elif _is_chaos(folder):
        pairs, problems = _patients(folder)
    else:
        found, problems = _by_id(folder, _MR_FILE, "image", "label")
        pairs = _pairs(found["image"], found["label"], problems)
    problems += [*miscount(folder, len(pairs), len(IDS[domain])), *_ids(folder, list(pairs), domain)]
    return [
        Item(f"{case:04d}", domain, f"{domain}/{case}", *files, split="test" if case in TESTS[domain] else "train")
        for case, files in sorted(pairs.items())
    ], problems


def _by_id(folder: Path, name: re.Pattern[str], *kinds: str) -> tuple[dict[str, dict[int, Path]], list[Problem]]:
    """Files by kind and id; every other name, and an id that stands there twice, is a finding."""
    listed = listing(folder)
    found: dict[str, dict[int, Path]] = {kind: {} for kind in kinds}
    problems = list(listed.problems)
    for stem, paths in sorted(listed.files.items()):
        match = name.fullmatch(stem)
        if match is None or match[1] not in kinds:
            what = f"is no published name of this folder ({' or '.join(kinds)} and a number), so it is left out"
            problems += [Problem("stray file", "warning", path, what, "Move it elsewhere.") for path in paths]
            continue
        for path in paths:
            known = found[match[1]].setdefault(int(match[2]), path)
            if known is not path:
                what = f"is case {int(match[2])}, as {known.name} is; one is required"
                problems.append(Problem("doubled file", "error", path, what, "Move one elsewhere."))
    return found, problems


def _pairs(
    images: Mapping[int, Path], labels: Mapping[int, Path], problems: list[Problem]
) -> dict[int, tuple[Path, Path]]:
    """Those of both kinds; the others are added to ``problems``."""
    for case in sorted(images.keys() ^ labels.keys()):
        kind, path = ("missing label map", images[case]) if case in images else ("missing image", labels[case])
        problems.append(Problem(kind, "error", path, f"case {case} has no partner of the same id", "Unpack it again."))
    return {case: (images[case], labels[case]) for case in images.keys() & labels.keys()}


def _patients(folder: Path) -> tuple[dict[int, tuple[Path, Path]], list[Problem]]:
    pairs, problems = {}, []
    for patient in subfolders(folder):
        if not patient.name.isdecimal():
            what = "is no patient's number, so it is left out"
            problems.append(Problem("extra folder", "warning", patient, what, "Nothing need be done."))
            continue
        images, labels = (patient / "T2SPIR" / part for part in ("DICOM_anon", "Ground"))
        wrong = chaos_series.check_counts(images, labels)
        problems += wrong
        if not wrong:
            pairs[int(patient.name)] = images, labels
    return pairs, problems


def _ids(folder: Path, cases: Sequence[int], domain: str) -> list[Problem]:
    """Warnings for ids that are not published, and for published test cases that are not there."""
    strange = [str(case) for case in sorted(cases) if case not in IDS[domain]]
    absent = [str(case) for case in TESTS[domain] if case not in cases]
    problems = []
    if strange:
        what = f"holds the case(s) {', '.join(strange)}, which are none of the published"
        problems.append(Problem("other cases", "warning", folder, what, "Compare them with the published list."))
    if absent:
        what = f"lacks the test case(s) {', '.join(absent)}, so scores compare with no published table"
        problems.append(Problem("missing test case", "warning", folder, what, "Unpack it again."))
    return problems


MEMBER = Abdominal
